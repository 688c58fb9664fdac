"""The noise of an image: as a run was told, as it shows, and what is left of it."""

from collections.abc import Sequence

import numpy as np

from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk
from denoise_daisy.assessing.places import Place
from denoise_daisy.assessing.pure_noise import denoised_noise, noise_left, noise_shape
from denoise_daisy.assessing.trial import Trial
from denoise_daisy.assessing.values import Noise
from denoise_daisy.denoisers.noise import Models
from denoise_daisy.denoisers.survey import Survey, survey

EDGES = (96, 64, 48, 32)
"""Of the pure noise; the first that there is time for."""


def surveyed(disk: OnDisk) -> Survey:
    """What samples of the raw image, all over it, tell of its noise."""
    return survey(disk.run.image)


def measured_noise(
    found: Survey | None, channels: int
) -> list[tuple[float, float] | None]:
    """Gain and offset of each channel, where what the survey found can be trusted."""
    if found is None:
        return [None] * channels
    fits = [channel.found for channel in found.channels]
    return [
        None
        if fit is None or fit.verdict == "not to be trusted"
        else (fit.gain, fit.offset)
        for fit in fits
    ]


def noises(
    places: Sequence[Place],
    channels: Sequence[str],
    models: Models | None,
    measured: Sequence[tuple[float, float] | None],
    left: Sequence[float],
) -> list[Noise]:
    """The noise of each channel, compared at its median grey level."""
    if models is None:
        return []
    levels = median_levels(places, len(channels))
    return [
        Noise(
            channel=channel,
            gain=gain or None,
            offset=offset,
            level=level,
            deviation=_sd(level, (gain, offset)),
            measured=None if other is None else _sd(level, other),
            left=left[c] if left else None,
        )
        for c, (channel, (gain, offset), other, level) in enumerate(
            zip(channels, models, measured, levels, strict=True)
        )
    ]


def _sd(level: float, noise: tuple[float, float]) -> float:
    return float(np.sqrt(max(0.0, noise[0] * level + noise[1])))


def median_levels(places: Sequence[Place], channels: int) -> list[float]:
    """The median grey level of each channel, raw where that can be read."""
    voxels = [p.denoised if p.raw is None else p.raw for p in places]
    return [
        float(np.median(np.concatenate([v[c].ravel() for v in voxels])))
        if voxels
        else 0.0
        for c in range(channels)
    ]


def left_of_noise(
    trial: Trial, models: Models, levels: Sequence[float], allowed: Allowance
) -> tuple[float, ...]:
    """What the run's denoiser leaves of nothing but noise, of each channel."""
    run = trial.run
    usual = noise_shape(run.denoiser, run.denoising.grid.largest_shape)
    smallest = run.denoiser.stencil.smallest
    for edge in EDGES:
        shape = (
            usual[0],
            usual[1],
            *(
                max(least, min(edge, n))
                for n, least in zip(usual[2:], smallest[2:], strict=True)
            ),
        )
        if trial.seconds(shape) <= allowed.left / 3:
            break
    else:
        allowed.leave_out("Pure noise, denoised", "there was too little time for it")
        return ()
    types = run.image.dtype.name, run.array.dtype
    return noise_left(*denoised_noise(trial.denoiser, models, levels, shape, types))
