"""Fourier ring correlation of a part of the image, before and after denoising."""

from collections.abc import Sequence

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.algorithms.photon_split import split
from denoise_daisy.algorithms.ring_correlation import RingCorrelation, ring_correlation
from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk
from denoise_daisy.assessing.places import Place
from denoise_daisy.assessing.trial import Trial
from denoise_daisy.assessing.values import Resolution
from denoise_daisy.blockwise.fit import trim

EDGES = (256, 192, 128, 96, 64)
"""Of the part, in voxels; the first that there is time for."""

LEAST_EDGE = 32
"""Of the smallest part with rings to speak of."""


def resolutions(
    disk: OnDisk,
    place: Place,
    noise: Sequence[tuple[float, float] | None],
    trial: Trial | None,
    allowed: Allowance,
) -> list[Resolution]:
    """That of each channel whose noise is known, in the middle of a place.

    The photons of what a block would read there are split into two halves; each is
    denoised by itself, with the run's denoiser.

    Raises
    ------
    UnreadableError
        The raw image can't be read there.
    """
    if not any(noise):
        allowed.leave_out("Fourier ring correlation", "no noise model is known")
        return []
    roi, has_time = _fitting(disk, place.roi, trial, allowed)
    if min(roi.shape[2:]) < LEAST_EDGE:
        allowed.leave_out("Fourier ring correlation", "the image is too small for it")
        return []
    reads = disk.context_of(roi)
    voxels = disk.raw(reads)
    if not np.isfinite(voxels).all():
        allowed.leave_out("Fourier ring correlation", "some voxels are no numbers")
        return []
    halves = _halves(voxels, noise)
    raw = [trim(half, reads, roi) for half in halves]
    denoised = None
    if trial is not None and has_time:
        denoiser = trial.of_halves()
        denoised = [
            trim(np.asarray(denoiser.denoise(half)), reads, roi) for half in halves
        ]
    else:
        why = "no time" if trial is not None else "the denoiser could not be loaded"
        allowed.leave_out("Fourier ring correlation of denoised halves", why)
    return [
        _resolution(disk, roi, c, raw, denoised)
        for c, model in enumerate(noise)
        if model is not None
    ]


def _resolution(
    disk: OnDisk,
    roi: Roi,
    c: int,
    raw: Sequence[np.ndarray],
    denoised: Sequence[np.ndarray] | None,
) -> Resolution:
    """That of one channel."""
    pixel = disk.run.image.scale_um[1:]
    known = (pixel[0], pixel[1]) if pixel[0] and pixel[1] else None
    before = _rings(raw, c, known)
    after = None if denoised is None else _rings(denoised, c, known)
    return Resolution(
        channel=disk.channels[c],
        place=_said(roi),
        pixel_um=known,
        frequencies=before.frequencies,
        raw=before.correlations,
        denoised=None if after is None else after.correlations,
        raw_resolution=before.resolution,
        denoised_resolution=None if after is None else after.resolution,
    )


def _fitting(
    disk: OnDisk, roi: Roi, trial: Trial | None, allowed: Allowance
) -> tuple[Roi, bool]:
    """The largest part for which there is time, and whether there is any."""
    part = roi
    for edge in EDGES:
        part = _middle(roi, edge)
        if trial is None:
            return part, False
        if 2 * trial.seconds(disk.context_of(part).shape) <= allowed.left / 2:
            return part, True
    return _middle(roi, EDGES[0]), False


def _middle(roi: Roi, edge: int) -> Roi:
    """As large a square of a plane as that, where there is so much."""
    edge = min(edge, *roi.shape[2:])
    t, z, y, x = roi.begin
    y, x = (b + (n - edge) // 2 for b, n in zip((y, x), roi.shape[2:], strict=True))
    return Roi((t, z, y, x), (*roi.shape[:2], edge, edge))


def _halves(
    raw: np.ndarray, noise: Sequence[tuple[float, float] | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Two of ``(t, c, z, y, x)``; a channel of unknown noise is in both as it is."""
    one, other = (raw.astype(np.float32) for _ in range(2))
    for c, model in enumerate(noise):
        if model is not None:
            rng = np.random.default_rng(c)
            one[:, c], other[:, c] = split(raw[:, c], *model, rng)
    return one, other


def _rings(
    halves: Sequence[np.ndarray], c: int, pixel: tuple[float, float] | None
) -> RingCorrelation:
    one, other = (half[:, c] for half in halves)
    return ring_correlation(one, other, pixel or (1.0, 1.0))


def _said(roi: Roi) -> str:
    (t, z, y, x), (_, _, y1, x1) = roi.begin, roi.end
    return f"t {t}, z {z}, y {y}:{y1}, x {x}:{x1}"
