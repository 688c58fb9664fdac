"""Calibrations of the noise, on real files: what is clipped, shifted and left over."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import print_table

from denoise_daisy.algorithms.anscombe import bias_of_algebraic_inverse
from denoise_daisy.denoisers.calibration import ndsafir_numbers, robust_numbers
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.denoisers.noise import NoiseNumbers, PoissonGaussian, floors
from denoise_daisy.denoisers.survey import Survey, survey
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.image import Image
from denoise_daisy.images.input import Input

CROP = (1, 8, 224, 224)
"""Voxels along (t, z, y, x) that are denoised at most, from the image's middle."""

MOST_SCENES = 100

NOISE = "poisson-gaussian"


def run(folder: Path) -> dict[str, Any]:
    """Each channel of each scene, with either calibration."""
    rows = [row for path in sorted(folder.glob("*.czi")) for row in _of_file(path)]
    header = ("file, scene, channel", "by", "gain", "offset", "clipped %")
    more = ("total %", "predicted %", "r1", "verdict", "rho")
    numbers = ("gain", "offset", "clipped", "total", "predicted", "r1")
    table = [
        (
            f"{row['file'][:20]} {row['scene']} {row['channel']}",
            row["by"],
            *(f"{row[name]:.4g}" for name in numbers[:2]),
            *(f"{100 * row[name]:.2f}" for name in numbers[2:5]),
            f"{row['r1']:.2f}",
            row["verdict"],
            f"{row['whiteness']:.2f}",
        )
        for row in rows
    ]
    print_table((*header, *more), table)
    return {"channels": rows}


def _of_file(path: Path) -> Iterator[dict[str, Any]]:
    for scene, image in _scenes(path).items():
        told = survey(image)
        for by in ("robust", "ndsafir"):
            try:
                found = _numbers(by, image, told)
            except InputError as error:
                print(f"{path.name}, scene {scene}, {by}: {error}")
                continue
            for row in _of_channels(image, told, found):
                yield {"file": path.stem, "scene": scene, "by": by} | row


def _scenes(path: Path) -> Mapping[int, Image]:
    """Every scene; the file's only image is scene 0."""
    scenes = {}
    for scene in range(MOST_SCENES):
        try:
            scenes[scene] = open_image(Input(path=str(path), scene=scene))
        except InputError:
            break
    return scenes


def _numbers(by: str, image: Image, told: Survey) -> NoiseNumbers:
    if by == "robust":
        return robust_numbers(told, NOISE)
    return ndsafir_numbers(image, NOISE)


def _of_channels(
    image: Image, told: Survey, numbers: NoiseNumbers
) -> Iterator[dict[str, Any]]:
    key, raw = _crop(image)
    mask = image.valid(key)
    valid = np.ones(raw.shape, bool) if mask is None else mask
    noise = PoissonGaussian(gains=numbers.gains, offsets=numbers.offsets)
    denoiser = Ndsafir().denoiser(
        noise=noise, channels=raw.shape[1], threads=2, probed=None
    )
    denoiser.load(image.dtype)
    denoised = denoiser.denoise(raw)
    for i, channel in enumerate(told.channels):
        before, after = raw[:, i].astype(float), denoised[:, i].astype(float)
        there = valid[:, i]
        fit, levels = channel.fit, channel.levels
        yield {
            "channel": i,
            "gain": (numbers.gains or ())[i],
            "offset": (numbers.offsets or ())[i],
            "clipped": levels.share_below(floors(numbers)[i]) if levels else 0.0,
            "total": float(after[there].sum() / before[there].sum() - 1),
            "predicted": _predicted(channel.expected, numbers, i),
            "r1": _neighbours(before - after, there),
            "verdict": fit.verdict + (", gaussian" if fit.is_gaussian else ""),
            "whiteness": fit.whiteness,
        }


def _predicted(levels: np.ndarray | None, numbers: NoiseNumbers, channel: int) -> float:
    """By what part the total of the whole image is said to change."""
    if levels is None:
        return 0.0
    gain, offset = (numbers.gains or ())[channel], (numbers.offsets or ())[channel]
    return bias_of_algebraic_inverse(gain, offset, levels, np.ones(len(levels)))


def _crop(image: Image) -> tuple[tuple[slice, ...], np.ndarray]:
    t, c, *zyx = image.shape
    sizes = [min(n, most) for n, most in zip((t, *zyx), CROP, strict=True)]
    begins = [(n - size) // 2 for n, size in zip((t, *zyx), sizes, strict=True)]
    along = [slice(b, b + size) for b, size in zip(begins, sizes, strict=True)]
    key = (along[0], slice(0, c), *along[1:])
    return key, image[key]


def _neighbours(residual: np.ndarray, there: np.ndarray) -> float:
    """Correlation of the residual with itself one voxel on, along x."""
    residual = residual - residual[there].mean()
    both = there[..., 1:] & there[..., :-1]
    products = (residual[..., 1:] * residual[..., :-1])[both].mean()
    return float(products / (residual[there] ** 2).mean())
