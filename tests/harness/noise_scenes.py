"""Volumes whose noise is known: what detectors make of structure that looks real."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

ROUNDING = 1 / 12
"""Variance that rounding to whole grey levels adds."""

FULL = 0.8
"""Part of an integer type's range that the brightest structure may fill."""

Range = tuple[float, float]
Structure = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""From 0 to about 1, of ``(z, y, x)``; the time points of a movie come as z."""


@dataclass(frozen=True)
class Scene:
    """A volume of ``(t, c, z, y, x)`` with and without its noise.

    Before it is clipped, the noise's variance is ``gain * clean + offset``.
    """

    kind: str
    seed: int
    clean: np.ndarray
    """What is to be expected of each voxel, in grey levels; float32."""
    noisy: np.ndarray
    """uint8, uint16 or float32."""
    gains: tuple[float, ...]
    """By channel; 0 where the variance does not grow."""
    offsets: tuple[float, ...]
    """By channel: variance of readout and rounding - gain * background."""

    def planes(self, channel: int) -> list[np.ndarray]:
        """All ``(y, x)`` of a channel, as the detector gave them."""
        voxels = self.noisy[:, channel]
        return list(voxels.reshape(-1, *voxels.shape[-2:]))

    def sd(self, channel: int, level: float) -> float:
        """The noise's standard deviation at a level of `clean`."""
        return float(np.sqrt(self.gains[channel] * level + self.offsets[channel]))


@dataclass(frozen=True)
class Kind:
    """What scenes of a kind have in common; the seed draws from the ranges."""

    structure: Structure
    shape: tuple[int, int, int, int, int] = (1, 1, 16, 288, 288)
    """``(t, c, z, y, x)``; 0: drawn, 6 to 20 time points or 3 to 5 planes."""
    detector: Literal["camera", "multiplier", "counter", "gaussian"] = "camera"
    dtype: str = "uint16"
    gain: Range = (0.3, 12.0)
    """Grey levels per photo-electron; of a counter whole."""
    photons: Range = (30.0, 600.0)
    """Of the brightest structure."""
    dark: Range = (0.1, 4.0)
    """Photons where nothing is."""
    background: Range = (90.0, 400.0)
    """The detector's own grey level."""
    read: Range = (1.5, 8.0)
    """Standard deviation of readout, in grey levels."""
    saturated: Range | None = None
    """Share of the voxels whose expectation is beyond the detector's highest level."""
    scale: float = 1.0
    """All grey levels are told in units of it."""


def scene(kind: str, seed: int) -> Scene:
    """A volume of that kind; another for each seed."""
    rng = np.random.default_rng((seed, *kind.encode()))
    asked = KINDS[kind]
    t, c, z, *yx = asked.shape
    t, z = t or int(rng.integers(6, 21)), z or int(rng.integers(3, 6))
    channels = [
        _detect(asked, rng, asked.structure(rng, (max(t, z), *yx))) for _ in range(c)
    ]
    cleans, noisies, gains, offsets = zip(*channels, strict=True)
    clean, noisy = (
        np.stack([voxels.reshape(t, z, *yx) for voxels in arrays], axis=1)
        for arrays in (cleans, noisies)
    )
    return Scene(kind, seed, clean, noisy, gains, offsets)


def tuning() -> list[tuple[str, int]]:
    """Kinds and seeds of volumes to tune on, three of each kind."""
    return [(kind, seed) for kind in KINDS for seed in range(3)]


def judgement() -> list[tuple[str, int]]:
    """Kinds and seeds of the 40 volumes that nothing is tuned on."""
    more = 40 - 2 * len(KINDS)
    kinds = [*KINDS, *KINDS, *list(KINDS)[:more]]
    return [(kind, 1000 + i) for i, kind in enumerate(kinds)]


def _detect(
    kind: Kind, rng: np.random.Generator, structure: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Clean and noisy voxels of a channel, its gain and its offset."""
    gain, photons, read = (_draw(rng, r) for r in (kind.gain, kind.photons, kind.read))
    dark, background = _draw(rng, kind.dark), rng.uniform(*kind.background)
    whole = kind.detector == "counter"
    if whole:
        gain, read, background = float(round(gain)), 0.0, 0.0
    highest = np.inf if kind.dtype == "float32" else np.iinfo(kind.dtype).max
    photons = min(photons, (FULL * highest - background) / gain - dark)
    rate = (dark + photons * structure).astype(np.float32)
    clean = gain * rate + np.float32(background)
    noisy = gain * _arrived(kind, rng, rate) + np.float32(background)
    noisy += read * rng.standard_normal(rate.shape, np.float32)
    if kind.saturated:
        highest = np.quantile(clean, 1 - _draw(rng, kind.saturated))
    if kind.dtype != "float32":
        noisy = np.clip(np.rint(noisy), 0, np.floor(highest))
    variance = read**2 + (0 if whole or kind.dtype == "float32" else ROUNDING)
    growth = gain * {"multiplier": 2, "gaussian": 0}.get(kind.detector, 1)
    offset = variance - growth * background
    return (
        clean * np.float32(kind.scale),
        (noisy * kind.scale).astype(kind.dtype),
        growth * kind.scale,
        offset * kind.scale**2,
    )


def _arrived(kind: Kind, rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
    """Photo-electrons, or what a multiplier makes of each: as much noise again."""
    if kind.detector == "gaussian":
        return rate
    electrons = rng.poisson(rate).astype(np.float32)
    if kind.detector == "multiplier":
        return rng.standard_gamma(electrons, dtype=np.float32)
    return electrons


def _draw(rng: np.random.Generator, ends: Range) -> float:
    """Small values as often as large ones."""
    return float(np.exp(rng.uniform(*np.log(ends))))


def blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Blurred balls of many sizes on a gradient, some in front of others."""
    image = 0.15 * _smooth(rng, shape, 60)
    for _ in range(120):
        width = rng.uniform(1.5, 12)
        spans, ways = [], []
        for n, w in zip(shape, (0.4 * width, width, width), strict=True):
            centre = rng.uniform(0, n)
            span = slice(max(0, int(centre - 4 * w)), min(n, int(centre + 4 * w) + 1))
            spans.append(span)
            ways.append(np.exp(-(((np.arange(n)[span] - centre) / w) ** 2) / 2))
        z, y, x = np.ix_(*ways)
        image[tuple(spans)] += rng.uniform(0.1, 0.8) * z * y * x
    return np.minimum(image, 1.2)


def fibres(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Thin threads, bright and dim, that wander through the volume."""
    image = np.zeros(shape, np.float32)
    steps = 2 * max(shape)
    for _ in range(60):
        angle = rng.uniform(0, 6.3) + np.cumsum(rng.normal(0, 0.05, steps))
        rise = np.cumsum(rng.normal(0, 0.05, steps))
        path = np.stack([rise, np.sin(angle), np.cos(angle)])
        path[1:] = np.cumsum(path[1:] / 2, axis=1)
        start = rng.uniform(0, 1, 3) * shape
        z, y, x = np.rint(path + start[:, np.newaxis]).astype(int)
        inside = np.logical_and.reduce(
            [(i >= 0) & (i < n) for i, n in zip((z, y, x), shape, strict=True)]
        )
        image[z[inside], y[inside], x[inside]] += rng.uniform(0.2, 1)
    width = rng.uniform(1.0, 1.5)
    image = ndimage.gaussian_filter(image, (0.6, width, width))
    return np.minimum(image / np.quantile(image, 0.998), 1.5)


def texture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Grain of one to two pixels everywhere, strong where it is bright."""
    grain = _grain(rng, shape, rng.uniform(1.1, 2.0))
    return _smooth(rng, shape, 40) * np.exp(0.45 * grain) / 2.5


def nuclei(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Bodies with sharp rims and some grain, and nothing between."""
    height = _smooth(rng, shape, 14)
    inside = np.clip((height - np.quantile(height, 0.85)) * 12, 0, 1)
    return inside * (0.6 + 0.1 * _grain(rng, shape, 2.5))


def cells(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Bodies, threads and a veil, as in most images."""
    return 0.5 * blobs(rng, shape) + 0.3 * fibres(rng, shape) + 0.2 * nuclei(rng, shape)


def film(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Bodies that drift and change from one time point to the next."""
    _, height, width = shape
    still = cells(rng, (3, height + 64, width + 64))
    speed = rng.uniform(-1.5, 1.5, 2)
    frames = []
    for t in range(shape[0]):
        share = 1 - abs(2 * t / shape[0] - 1)
        y, x = (32 + speed * (t - shape[0] / 2)).astype(int)
        frame = (1 - share) * still[0] + share * still[1]
        frames.append(frame[y : y + height, x : x + width])
    return np.stack(frames)


def tissue(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Membranes between bodies of many greys, sharply cut, as an electron sees them."""
    height = _smooth(rng, shape, 16) + _smooth(rng, shape, 40)
    rims = np.exp(-(((height * 6) % 1 - 0.5) ** 2) * 80)
    return 0.75 + 0.3 * (_smooth(rng, shape, 30) - 0.5) - 0.45 * rims


def faint(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Hardly more than its background, which is bright."""
    return 0.9 + 0.1 * blobs(rng, shape)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], width: int) -> np.ndarray:
    """Hills and valleys as wide as that along y and x, from 0 to 1."""
    widths = (max(1, width // 4), width, width)
    hills = rng.uniform(0, 1, [n // w + 4 for n, w in zip(shape, widths, strict=True)])
    for n, w in zip(shape, widths, strict=True):
        # Cubic B-splines: the weight of each random number at each place.
        places = np.arange(n)[:, np.newaxis] / w + 1 - np.arange(n // w + 4)
        far = np.abs(places)
        near = 2 / 3 - far**2 + far**3 / 2
        spline = np.where(far < 1, near, np.clip(2 - far, 0, None) ** 3 / 6)
        hills = np.tensordot(hills, spline, (0, 1))
    return ((hills - hills.min()) / np.ptp(hills)).astype(np.float32)


def _grain(
    rng: np.random.Generator, shape: tuple[int, ...], width: float
) -> np.ndarray:
    """Smoothed noise of variance 1."""
    noise = rng.standard_normal(shape, np.float32)
    noise = ndimage.gaussian_filter(noise, (width / 3, width, width))
    return noise / noise.std()


MOVIE = (0, 1, 1, 320, 320)
THIN = (1, 1, 0, 512, 512)

KINDS = {
    "camera": Kind(cells),
    "multiplier": Kind(
        cells,
        detector="multiplier",
        gain=(5, 30),
        photons=(20, 300),
        background=(200, 600),
        read=(10, 40),
    ),
    "counts 8 bit": Kind(
        cells, detector="counter", dtype="uint8", gain=(1, 4), photons=(2, 60)
    ),
    "counts 16 bit": Kind(
        fibres, detector="counter", gain=(1, 60), photons=(3, 200), dark=(0.05, 1)
    ),
    "clipped 8 bit": Kind(
        nuclei,
        dtype="uint8",
        gain=(0.5, 6),
        photons=(15, 120),
        dark=(0.05, 0.3),
        background=(0, 3),
        read=(2, 6),
    ),
    "clipped 16 bit": Kind(
        fibres,
        gain=(4, 30),
        photons=(60, 600),
        dark=(0.05, 0.3),
        background=(0, 15),
        read=(8, 30),
    ),
    "saturated": Kind(cells, saturated=(0.002, 0.03)),
    "thin": Kind(cells, THIN),
    "thin fibres": Kind(fibres, THIN, gain=(0.3, 60)),
    "fibres": Kind(fibres, photons=(100, 1000)),
    "texture": Kind(texture, photons=(40, 400)),
    "movie": Kind(film, MOVIE),
    "two channels": Kind(cells, (1, 2, 10, 256, 256), gain=(0.3, 60)),
    "8 bit": Kind(
        blobs,
        dtype="uint8",
        gain=(0.3, 0.95),
        photons=(60, 400),
        background=(4, 20),
        read=(0.4, 1.5),
    ),
    "narrow": Kind(faint, photons=(50, 1000)),
    "electrons": Kind(
        tissue,
        (1, 1, 8, 384, 384),
        "gaussian",
        "uint8",
        gain=(1, 1),
        photons=(150, 200),
        background=(10, 40),
        read=(4, 15),
    ),
    "dim nuclei": Kind(
        nuclei, detector="counter", gain=(1, 8), photons=(1.5, 15), dark=(0.02, 0.2)
    ),
    "float": Kind(cells, dtype="float32", scale=2.0**-16),
}
"""By name; a movie has single planes, all other volumes one time point."""
