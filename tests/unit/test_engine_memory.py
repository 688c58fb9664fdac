"""The engine in C takes the memory that it says: for the image, and for threads."""

from dataclasses import replace

import numpy as np
import pytest

from denoise_daisy.denoisers.native_engine import (
    BYTES_PER_VOXEL,
    WIDEST,
    Precision,
    bytes_per_thread,
)
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.machine import peak_memory
from harness.engine_scenes import Scene
from harness.forks import in_own_process

SLACK = 2 << 20
"""Bytes of the allocator, and of threads' stacks."""

SMALL = Algorithm((0, 0, 1, 1), "yx", 1, 0.1)
LARGE = Algorithm((0, 0, 20, 20), "yx", 1, 0.1)

PHOTONS = {1: NoiseNumbers((1.5,), (2.0,)), 2: NoiseNumbers((1.5, 2.0), (2.0, 0.0))}


def taken(
    shape: tuple[int, ...],
    algorithm: Algorithm,
    threads: int,
    dtype: str = "uint16",
    precision: Precision = "bitwise",
) -> int:
    """Bytes that the image takes in this process, beside itself."""
    image = np.full(shape, 300, dtype)
    image[..., ::2] = 310
    one = Scene(image, PHOTONS[shape[1]], algorithm, threads)
    size = [2 * p + 1 for p in algorithm.patch[2:]]
    small = np.ones((1, shape[1], 1, *size), np.uint16)
    replace(one, image=small).by_engine(precision)
    before = peak_memory()
    one.by_engine(precision)
    return peak_memory() - before


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_voxel_takes_what_was_said(channels: int, threads: int, dtype: str) -> None:
    """At most, and with one channel all of it; of two each takes 22 bytes."""
    shape = (1, channels, 8, 500, 1000 // channels)
    found, code = in_own_process(taken, shape, SMALL, threads, dtype)
    assert code == 0
    voxels = int(np.prod(shape))
    most = BYTES_PER_VOXEL * voxels + threads * bytes_per_thread(SMALL, channels)
    least = (24 if channels == 1 else 22) * voxels
    assert 0.97 * least < found < most + SLACK


@pytest.mark.parametrize("precision", ["bitwise", "float32"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_thread_takes_what_was_said(precision: Precision, threads: int) -> None:
    """With large patches, in an image as wide as it is told for.

    The first thread all of it, the others what they find to do.
    """
    shape = (1, 1, 1, 210, WIDEST)
    found, code = in_own_process(taken, shape, LARGE, threads, "uint16", precision)
    assert code == 0
    beside = found - BYTES_PER_VOXEL * int(np.prod(shape))
    each = bytes_per_thread(LARGE, 1)
    assert each > 10 << 20
    assert 0.7 * each < beside < threads * each + SLACK


def test_threads_take_more_for_more_channels_patches_and_iterations() -> None:
    least = bytes_per_thread(SMALL, 1)
    assert least < 4 << 20
    assert bytes_per_thread(SMALL, 2) > 1.5 * least
    assert bytes_per_thread(replace(SMALL, max_iter=4), 1) > least
    assert bytes_per_thread(replace(SMALL, patch=(0, 1, 1, 1)), 1) > 2 * least
    deep = replace(SMALL, active_dimensions="zyx", max_iter=4)
    assert bytes_per_thread(deep, 1) > bytes_per_thread(replace(SMALL, max_iter=4), 1)
