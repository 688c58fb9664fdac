"""The engine in C of `native/`: ndsafir's algorithm on a processor's vectors.

Built at installation, once for each instruction set; see `hatch_build.py`.  Where that
was not possible there is none, and ndsafir itself does the work.
"""

import ctypes
import math
import platform
from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from struct import pack, unpack
from typing import Literal

import numpy as np

from denoise_daisy.cgroups import lines_of
from denoise_daisy.denoisers.native_numbers import (
    CONSTANTS,
    Constants,
    chi2_quantile,
    normal_quantile,
    restore,
    stabilize,
)
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.noise import NoiseNumbers

Precision = Literal["bitwise", "float32"]

FOLDER = Path(__file__).parent / "native"

V3 = frozenset(["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"])
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
INSTRUCTIONS = {"x86-64-v4": V4, "x86-64-v3": V3, "x86-64": frozenset[str]()}
"""What each set of instructions needs, as Linux calls it; the fastest first."""

CPU = Path("/proc/cpuinfo")

BYTES_PER_VOXEL = 24
"""Peak memory per voxel and channel of its input, beyond the input: the transformed
image, estimate and variance, the sums of these, and how many were added up."""

WIDEST = 1 << 12
"""Voxels along each axis that the memory of a thread is told for."""

MOST_THREADS = 1024
"""More are taken not to help."""


class _Settings(ctypes.Structure):
    """`Settings` in patches.h."""

    _fields_ = [
        ("shape", ctypes.c_int32 * 4),
        ("channels", ctypes.c_int32),
        ("patch", ctypes.c_int32 * 4),
        ("iterations", ctypes.c_int32),
        ("search_t", ctypes.c_int32),
        ("search_z", ctypes.c_int32),
        ("is_float32", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("sigma", ctypes.c_float),
        ("first_variance", ctypes.c_float),
        ("tolerance", ctypes.c_float),
        ("least_variance", ctypes.c_float),
        ("mixed_part", ctypes.c_float),
        ("distance_scale", ctypes.c_double),
        ("quantile", ctypes.c_double),
        ("limit", ctypes.c_double),
    ]


def instruction_sets() -> tuple[str, ...]:
    """Those that the engine was built for and this processor has, the fastest first."""
    there = set(_cpu(CPU, "flags").split())
    return tuple(
        name
        for name, needed in INSTRUCTIONS.items()
        if needed <= there and _loads(name)
    )


def processor() -> str:
    """What this processor calls itself."""
    return _cpu(CPU, "model name") or platform.machine()


def denoise(
    image: np.ndarray,
    noise: NoiseNumbers,
    algorithm: Algorithm,
    threads: int,
    *,
    precision: Precision,
    instruction_set: str,
    constants: Constants = CONSTANTS,
) -> np.ndarray:
    """Denoise an array of ``(t, c, z, y, x)``; the result is float32, same shape.

    All voxels must be finite numbers, and the image large enough for the patches.  On a
    machine the result is the same to the bit for any number of threads and any
    instruction set.

    Raises
    ------
    MemoryError
        There is too little.
    """
    t, c, z, y, x = image.shape
    settings = _settings((t, z, y, x), c, algorithm, constants)
    settings.is_float32 = precision == "float32"
    settings.threads = min(threads, MOST_THREADS)
    voxels = image.astype(np.float32, order="C")
    with np.errstate(all="ignore"):
        stabilize(voxels, noise, constants)
        sigma = np.float32(1 if noise.noise_std is None else noise.noise_std)
        settings.sigma = sigma
        settings.first_variance = sigma * sigma * np.float32(constants.first_variance)
        settings.tolerance = sigma * np.float32(constants.tolerance)
    result = np.empty_like(voxels)
    pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (voxels, result))
    if _library(instruction_set).denoise(ctypes.byref(settings), *pointers):
        raise MemoryError
    with np.errstate(all="ignore"):
        restore(result, noise, constants)
    return result


def exponentials(numbers: np.ndarray, instruction_set: str) -> np.ndarray:
    """Of numbers up to 0, as many as a multiple of 8: exp as the engine computes it."""
    result = np.empty_like(numbers)
    pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (numbers, result))
    _library(instruction_set).exps(*pointers, len(numbers))
    return result


def bytes_per_thread(algorithm: Algorithm, channels: int) -> int:
    """Memory that a thread takes beside the image, whatever the instruction set."""
    settings = _settings((WIDEST,) * 4, channels, algorithm)
    return max(
        int(_library(name).bytes_per_thread(ctypes.byref(settings)))
        for name in instruction_sets()
    )


def _settings(
    shape: Sequence[int],
    channels: int,
    algorithm: Algorithm,
    constants: Constants = CONSTANTS,
) -> _Settings:
    """All but what depends on the noise and on who computes."""
    axes = zip("tzyx", algorithm.patch, shape, strict=True)
    radii = [p if axis in "yx" or n > 1 else 0 for axis, p, n in axes]
    elements = channels * math.prod(2 * p + 1 for p in radii)
    normal = normal_quantile(algorithm.pvalue, constants.erf_inverse)
    distance = np.float32(chi2_quantile(elements, float(np.float32(normal))))
    return _Settings(
        shape=tuple(shape),
        channels=channels,
        patch=tuple(radii),
        iterations=algorithm.max_iter,
        search_t="t" in algorithm.active_dimensions,
        search_z="z" in algorithm.active_dimensions,
        least_variance=constants.least_variance,
        mixed_part=constants.mixed_part,
        distance_scale=constants.distance * float(distance),
        quantile=float(np.float32(chi2_quantile(elements, normal))),
        limit=constants.limit,
    )


@cache
def _cpu(file: Path, what: str) -> str:
    """What Linux knows of the first processor."""
    for line in lines_of(file):
        name, _, value = line.partition(":")
        if name.strip() == what:
            return value.strip()
    return ""


def _loads(instruction_set: str) -> bool:
    try:
        _library(instruction_set)
    except OSError:
        return False
    return True


def _path(instruction_set: str) -> Path:
    return FOLDER / f"engine-{instruction_set}.so"


def _library(instruction_set: str) -> ctypes.CDLL:
    return _loaded(_path(instruction_set))


@cache
def _loaded(path: Path) -> ctypes.CDLL:
    """One that can't be loaded, or has other settings than this module's: OSError."""
    library = ctypes.CDLL(str(path))
    size = getattr(library, "bytes_of_settings", int)()
    if size != ctypes.sizeof(_Settings):
        raise OSError(f"{path} was built of other sources")
    library.bytes_per_thread.restype = ctypes.c_size_t
    library.set_powers(_powers_of_two())
    return library


def _powers_of_two() -> "ctypes.Array[ctypes.c_int64]":
    """The table of glibc's exp: of ``2**(i / 128)`` what is lost, and what is kept."""
    table: list[int] = []
    with localcontext(prec=60):
        for i in range(128):
            exact = (Decimal(2).ln() * i / 128).exp()
            kept = float(exact)
            lost = float(exact / Decimal(kept) - 1)
            table += [_bits(lost), _bits(kept) - (i << 45)]
    return (ctypes.c_int64 * len(table))(*table)


def _bits(number: float) -> int:
    bits: int = unpack("<q", pack("<d", number))[0]
    return bits
