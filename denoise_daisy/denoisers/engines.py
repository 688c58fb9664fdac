"""What can compute ndsafir's algorithm here: ndsafir itself, and the engine in C.

In bitwise precision that has ndsafir's bits, so that a run may go on with another; in
float32 it differs by rounding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from denoise_daisy.denoisers import native_engine, ndsafir_engine
from denoise_daisy.denoisers.native_engine import Precision
from denoise_daisy.denoisers.native_numbers import has_quantile
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.noise import NoiseNumbers

MOST_SCRATCH = 256 << 20
"""Bytes that a thread of the engine in C may take beside the image.

Patches that it takes more for are left to ndsafir.
"""


Compute = Callable[[np.ndarray, NoiseNumbers, Algorithm, int], np.ndarray]
"""Denoises an image of ``(t, c, z, y, x)`` on so many threads, as float32."""


@dataclass(frozen=True)
class Engine:
    """What computes."""

    name: str
    bytes_per_voxel: int
    """As of a `Denoiser`."""
    denoise: Compute
    instructions: str = ""
    """The processor's, of the engine in C."""


def ndsafir_itself() -> Engine:
    """The reference."""
    return Engine(
        f"ndsafir {ndsafir_engine.ndsafir_version()}",
        ndsafir_engine.BYTES_PER_VOXEL,
        ndsafir_engine.denoise,
    )


def native_engines(
    precision: Precision, algorithm: Algorithm, channels: int
) -> Iterator[Engine]:
    """The engine in C for each instruction set that is there, the fastest first.

    None where it can't compute this.
    """
    for instructions in native_engine.instruction_sets():
        if why_not(algorithm, channels):
            return
        yield Engine(
            f"{precision} engine, {instructions}",
            native_engine.BYTES_PER_VOXEL,
            partial(
                native_engine.denoise,
                precision=precision,
                instruction_set=instructions,
            ),
            instructions,
        )


def why_not(algorithm: Algorithm, channels: int) -> str:
    """Why the engine in C can't compute this here, in words; empty where it can."""
    if not native_engine.instruction_sets():
        return (
            "it is not there: this platform has none, it could not be built, or it is"
            " of other sources (installing with `pip install -v .` says why)"
        )
    if not has_quantile(algorithm.pvalue):
        return f"denoise.pvalue is {algorithm.pvalue:g}"
    if scratch(algorithm, channels) > MOST_SCRATCH:
        return "for such large patches, or so many iterations, it needs much memory"
    return ""


@cache
def scratch(algorithm: Algorithm, channels: int) -> int:
    """Bytes that a thread of the engine in C takes beside the image."""
    return native_engine.bytes_per_thread(algorithm, channels)
