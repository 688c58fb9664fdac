"""ndsafir: one array in, one array out."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.config import Ndsafir, by_axis
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES, largest_radius

BYTES_PER_VOXEL = 28
"""Peak memory of ndsafir per voxel and channel of its input, beyond the input."""

CHECKED_VERSIONS = ("2026.1014a0",)
"""Versions of ndsafir that the tiling law (`geometry.stencil`) was checked with."""


@dataclass(frozen=True, slots=True)
class NoiseNumbers:
    """The noise that ndsafir is told of: gains and offsets, or a standard deviation."""

    gains: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None
    noise_std: float | None = None


def ndsafir_version() -> str:
    """The version of ndsafir that is installed."""
    return version("ndsafir")


def load_ndsafir() -> Any:
    """Import ndsafir; workers do so at their start, others when they need it.

    It imports xarray and pandas: a third of a second, which `status` and a scheduler
    with known noise need not spend.
    """
    import ndsafir  # noqa: PLC0415

    return ndsafir


def check_version() -> None:
    """Refuse a version of ndsafir for which the tiling law is not known to hold."""
    found = ndsafir_version()
    if found not in CHECKED_VERSIONS:
        raise InputError(
            f"ndsafir {found} is installed; blocks are known to give the whole image's"
            f" result with {', '.join(CHECKED_VERSIONS)}. Install that version, or run"
            " with --unchecked-ndsafir after `pytest tests/test_tiling_law.py` passes."
        )


def patch_radii(denoise: Ndsafir) -> Coordinate:
    """Patch radii along (t, z, y, x)."""
    return Coordinate(by_axis(denoise.patch, "tzyx", dict.fromkeys("tzyx", 0)))


def check_extent(denoise: Ndsafir, extent: Sequence[int]) -> None:
    """Refuse a patch radius that would crash ndsafir on an image of that extent."""
    axes = zip(AXES, patch_radii(denoise), extent, strict=True)
    for axis, radius, voxels in axes:
        largest = largest_radius(axis, voxels)
        if largest is not None and radius > largest:
            raise InputError(
                f"denoise.patch.{axis} is {radius}, but the image has only {voxels}"
                f" voxels along {axis}; ndsafir needs at least {2 * radius + 1} for"
                f" that radius. Set it to {largest} or less."
            )


def floors(noise: NoiseNumbers) -> tuple[float, ...]:
    """Grey levels below which voxels become one value, by channel; none if Gaussian.

    ndsafir transforms a grey level x to ``2 / gain * sqrt(gain * x + 3/8 gain**2 +
    offset)`` and takes what is below 0 under the root for 0: all that lies below
    ``-offset / gain - 3/8 gain``.  Measured on ndsafir 2026.1014a0 and tested against
    the installed version.
    """
    pairs = zip(noise.gains or (), noise.offsets or (), strict=True)
    return tuple(-offset / gain - 3 / 8 * gain for gain, offset in pairs)


def uncovered_layers(patch: Sequence[int], extent: Sequence[int]) -> tuple[int, ...]:
    """Voxel layers at an image's far ends that lie in no patch, by ``(t, z, y, x)``.

    ndsafir returns such voxels as they were put in.  `patch` are the radii p, `extent`
    the n voxels of the whole image, both along ``(t, z, y, x)``.  Patches are centred
    from p on, up to n - p - 1, in steps of p + 1 along y and x, of p + 1 along z if
    n > 4 p + 1 (else 1), and of p (at least 1) along t; what the last one does not
    reach is left over::

        p = 1, n = 8     | . 1 . 3 . 5 . - |     centres 1, 3, 5; layer 7 in no patch

    But see `far_end_strips`.  Measured on ndsafir 2026.1014a0 and tested against the
    installed version.
    """
    strips = far_end_strips(patch, extent)
    if any(strip >= n for strip, n in zip(strips, extent, strict=True)):
        return (0,) * len(AXES)
    radii = _radii_used(patch, extent)
    t, z, y, x = radii
    steps = (max(1, t), z + 1 if extent[1] > 4 * z + 1 else 1, y + 1, x + 1)
    axes = zip(strips, extent, radii, steps, strict=True)
    return tuple(0 if strip else (n - 2 * p - 1) % step for strip, n, p, step in axes)


def layer_warnings(
    denoise: Ndsafir, extent: Sequence[int], end: Sequence[int]
) -> Iterator[str]:
    """Warnings of layers in no patch, of those that are written.

    `extent` is the whole image's, `end` that of the region to be written, in voxels of
    ``(t, z, y, x)``.
    """
    patch = patch_radii(denoise)
    mostly = "mostly " if any(far_end_strips(patch, extent)) else ""
    for i, layers in enumerate(uncovered_layers(patch, extent)):
        axis, n, radius = AXES[i], extent[i], patch[i]
        if end[i] <= n - layers:
            continue
        is_one = layers == 1
        which = f"layer {n - 1}" if is_one else f"layers {n - layers} to {n - 1}"
        fitting = [
            p
            for p in range(min(radius + 1, largest_radius(axis, n) or 0) + 1)
            if not uncovered_layers([*patch[:i], p, *patch[i + 1 :]], extent)[i]
        ]
        yield (
            f"Along {axis}, {which} of 0 to {n - 1} {'lies' if is_one else 'lie'} in no"
            f" patch of ndsafir (denoise.patch.{axis} is {radius}) and"
            f" {'stays' if is_one else 'stay'} {mostly}as noisy as"
            f" {'it was' if is_one else 'they were'}. Set denoise.patch.{axis} to"
            f" {' or '.join(map(str, fitting[-2:]))}, or leave"
            f" {'it' if is_one else 'them'} out: the region input.roi.{axis} may end"
            f" at {n - layers}."
        )


def far_end_strips(patch: Sequence[int], extent: Sequence[int]) -> tuple[int, ...]:
    """Voxels at the far end of ``(t, z, y, x)`` that ndsafir covers without gaps.

    Where p > 1 along z, y or x there are patches at the very end of that axis, at
    every position of all other axes.  With p > 1 along t those of z are there whatever
    the radius along z (they seem to be meant for t).
    """
    t, z, y, x = _radii_used(patch, extent)
    return (
        0,
        2 * z + 1 if z > 1 or t > 1 else 0,
        *(2 * p + 1 if p > 1 else 0 for p in (y, x)),
    )


def _radii_used(patch: Sequence[int], extent: Sequence[int]) -> tuple[int, ...]:
    """Patch radii along ``(t, z, y, x)``; 0 where the image has one voxel only."""
    return tuple(p if n > 1 else 0 for p, n in zip(patch, extent, strict=True))


def denoise(
    image: np.ndarray, parameters: Ndsafir, noise: NoiseNumbers, threads: int
) -> np.ndarray:
    """Denoise an array of ``(t, c, z, y, x)``; the result is float32, same shape.

    With one thread the result is the same to the bit every time.
    """
    t, z, y, x = patch_radii(parameters)
    ndsafir = load_ndsafir()
    if noise.noise_std is not None:
        function = ndsafir.denoise_gaussian
        numbers: dict[str, Any] = {"noise_std": noise.noise_std}
    else:
        function = ndsafir.denoise_poisson_gaussian
        numbers = {"gains": noise.gains, "offsets": noise.offsets}
    result: np.ndarray = function(
        image,
        axes="TCZYX",
        patch=[t, 0, z, y, x],
        active_dimensions=parameters.active_dimensions,
        max_iter=parameters.max_iter,
        pvalue=parameters.pvalue,
        nthreads=threads,
        **numbers,
    )
    return result


def seconds_per_voxel(parameters: Ndsafir, channels: int) -> float:
    """How long one thread of this machine takes per voxel and channel, by trial."""
    depth = max(8, 2 * patch_radii(parameters)[1] + 1)
    edge = max(48, 2 * max(patch_radii(parameters)) + 1)
    rng = np.random.default_rng(0)
    image = rng.normal(100, 10, (1, channels, depth, edge, edge)).astype(np.float32)
    started = time.perf_counter()
    denoise(image, parameters, NoiseNumbers(noise_std=10.0), threads=1)
    return (time.perf_counter() - started) / image.size


def calibrate(sample: np.ndarray, kind: str) -> NoiseNumbers:
    """Noise numbers of a sample of ``(c, z, y, x)``; all channels by themselves."""
    ndsafir = load_ndsafir()
    if kind == "gaussian":
        numbers = NoiseNumbers(noise_std=ndsafir.calibrate_gaussian(sample, "CZYX"))
    else:
        gains, offsets = ndsafir.calibrate_poisson_gaussian(sample, "CZYX")
        numbers = NoiseNumbers(gains=tuple(gains), offsets=tuple(offsets))
    positive = numbers.gains or (numbers.noise_std or 0.0,)
    every = (*positive, *(numbers.offsets or ()))
    if min(positive) <= 0 or not all(map(math.isfinite, every)):
        raise InputError(
            f"Calibration found impossible noise ({numbers}). Give the numbers in the"
            " config: noise.gains and noise.offsets, or noise.noise_std."
        )
    return numbers
