"""Which engine denoises, on how many threads, and what to say about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from denoise_daisy.denoisers import ndsafir_engine
from denoise_daisy.denoisers.engine_trial import expected, trusted
from denoise_daisy.denoisers.engines import (
    Engine,
    ndsafir_itself,
    scratch,
    why_not,
)
from denoise_daisy.denoisers.native_engine import MOST_THREADS, Precision
from denoise_daisy.denoisers.ndsafir_engine import Algorithm
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.denoisers.unbiased import BYTES_PER_VOXEL, UNIT, unbiased
from denoise_daisy.errors import InputError


@dataclass(frozen=True)
class EngineChoice:
    """The fastest engine with the result that is asked for; or ndsafir, if that is."""

    asked: Literal["auto", "ndsafir"]
    precision: Precision
    inverse: Literal["ndsafir", "unbiased"]
    algorithm: Algorithm
    channels: int
    threads: int

    @property
    def expected(self) -> Engine:
        """What computes here; certain once it was loaded."""
        if self.asked == "ndsafir":
            return ndsafir_itself()
        return expected(self.precision, self.algorithm, self.channels)

    @property
    def bytes_per_voxel(self) -> int:
        """As of a `Denoiser`."""
        added = BYTES_PER_VOXEL if self.inverse == "unbiased" else 0
        return self.expected.bytes_per_voxel + added

    @property
    def threads_used(self) -> int:
        """Those that compute here."""
        return self._threads_of(self.expected)

    @property
    def shares_threads(self) -> bool:
        """Whether more threads make it faster here, and change no bit."""
        return self.asked == "auto" and bool(self.expected.instructions)

    @property
    def repeats(self) -> bool:
        """Whether the same input gives the same bits, on any number of threads."""
        return self.asked == "auto" or self.threads == 1

    @cached_property
    def scratch_bytes(self) -> int:
        """What the threads work with."""
        if not self.expected.instructions:
            return 0
        threads = min(self.threads, MOST_THREADS)
        return threads * scratch(self.algorithm, self.channels)

    def check(self) -> None:
        """Refuse a precision that nothing here can compute with."""
        missing = why_not(self.algorithm, self.channels)
        if self.precision == "float32" and missing:
            raise InputError(
                "denoise.precision is float32, but the engine for it can't be used:"
                f" {missing}. Set denoise.precision to bitwise; a run that was begun"
                " with float32 then starts over, with --overwrite."
            )

    def warnings(self) -> Iterator[str]:
        """That the fast engine is not used, or that ndsafir does not repeat itself."""
        if not self.repeats:
            yield (
                f"With {self.threads} threads per worker ndsafir repeats itself only to"
                " about 3e-4 grey levels; set denoise.engine to auto, or give each"
                " worker one thread, for the same bytes every time."
            )
        if self.asked == "auto" and not self.expected.instructions:
            missing = why_not(self.algorithm, self.channels) or "it failed its test"
            idle = f", on one of {self.threads} threads" if self.threads > 1 else ""
            yield (
                f"ndsafir itself denoises{idle}, and takes several times as long as the"
                f" fast engine, which can't be used: {missing}."
            )

    def load(self, noise: NoiseNumbers, dtype: np.dtype[Any]) -> None:
        """Load the engine and hold it against ndsafir; see `engine_trial.trusted`."""
        ndsafir_engine.load_ndsafir()
        self._trusted(noise, self.channels, dtype)

    def denoise(self, image: np.ndarray, noise: NoiseNumbers) -> np.ndarray:
        """As float32.

        An image with voxels that are no finite numbers is left to ndsafir, which has
        its own way with these.

        Raises
        ------
        ValueError
            It has such voxels, and ndsafir's bits were not asked for.
        """
        engine = self._trusted(noise, image.shape[1], image.dtype)
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            if self.precision == "float32":
                raise ValueError(
                    "there are voxels that are no finite numbers: set"
                    " denoise.precision to bitwise"
                )
            engine = ndsafir_itself()
        is_unbiased = self.inverse == "unbiased"
        compute = unbiased(engine.denoise) if is_unbiased else engine.denoise
        return compute(image, noise, self.algorithm, self._threads_of(engine))

    def _threads_of(self, engine: Engine) -> int:
        """All, unless that would change bits which nobody has asked to change."""
        is_asked_for = self.asked == "ndsafir"
        return self.threads if engine.instructions or is_asked_for else 1

    def _trusted(
        self, noise: NoiseNumbers, channels: int, dtype: np.dtype[Any]
    ) -> Engine:
        if self.asked == "ndsafir":
            return ndsafir_itself()
        if self.inverse == "unbiased":
            noise, dtype = UNIT, np.dtype(np.float32)
        return trusted(self.precision, self.algorithm, noise, channels, dtype)
