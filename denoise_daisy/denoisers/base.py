"""The seam for denoisers: what the rest of the program asks of one.

A denoiser is a value that is made from its section of the config and answers for
itself.  To add one, write a module with a section and a `Denoiser`, and name the
section in `denoise_daisy.denoisers`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from denoise_daisy.denoisers.noise import Noise
from denoise_daisy.geometry import Stencil
from denoise_daisy.images.image import Image
from denoise_daisy.sections import Section

TRIAL_DEPTH = 8
TRIAL_EDGE = 48
"""Voxels along z, and along y and x, of the image that a denoiser is timed on."""


class Denoiser(ABC):
    """One array in, one array out, of ``(t, c, z, y, x)``."""

    kind: ClassVar[str]
    """As in the config."""

    bytes_per_voxel: ClassVar[int]
    """Peak memory per voxel and channel of its input, beyond the input, until the
    result is of the output's type."""

    process_bytes: ClassVar[int] = 0
    """Memory that loading it takes in a worker, beyond what every worker has."""

    @property
    @abstractmethod
    def stencil(self) -> Stencil:
        """What an output voxel depends on."""

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """The settings and versions that decide its bytes, by name; plain JSON."""

    @abstractmethod
    def denoise(self, image: np.ndarray) -> np.ndarray:
        """The image denoised, same shape, of whatever type."""

    @property
    def repeats(self) -> bool:
        """Whether the same input always gives the same bytes."""
        return True

    @property
    def probed(self) -> Mapping[str, Any] | None:
        """What it found out about the image, to be kept with the run; plain JSON."""
        return None

    @property
    def noise_text(self) -> str:
        """What it knows of the noise, in words."""
        return f"of no use to a {self.kind} filter"

    @property
    def needs_probing(self) -> bool:
        """Whether it must `probe` the image before it can denoise."""
        return False

    def probe(self, image: Image) -> tuple["Denoiser", tuple[str, ...]]:
        """The denoiser that knows the image, and what is doubtful about that.

        Raises
        ------
        InputError
            The image tells nothing of what it needs to know.
        """
        return self, ()

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027 - most have none
        """Refuse an image of that shape, ``(t, z, y, x)``, that it can't denoise.

        Raises
        ------
        InputError
            With the setting to change.
        """

    def warnings(self, shape: Sequence[int], end: Sequence[int]) -> Iterator[str]:
        """What a person should know before denoising an image of that shape.

        `end` is that of the region to be written; both are in ``(t, z, y, x)``.
        """
        yield from ()

    def seconds_per_voxel(self, channels: int) -> float:
        """How long a worker on this machine takes per voxel and channel, by trial."""
        return timed(self, channels)

    def load(self) -> None:  # noqa: B027 - most have nothing to load
        """Load its engine; called once in every worker, at its start."""


class DenoiserSection(Section):
    """The section `denoise` of a config; each kind adds a `kind` and its parameters."""

    knows_noise: ClassVar[bool] = False
    """Whether the section `noise` means anything to it."""

    def check_engine(self) -> None:
        """Refuse an engine that is not known to give the whole image's bits."""

    def denoiser(
        self,
        *,
        noise: Noise,
        channels: int,
        threads: int,
        probed: Mapping[str, Any] | None,
    ) -> Denoiser:
        """The denoiser, on so many threads, for an image of so many channels.

        `probed` is what an earlier start has found out, see `Denoiser.probed`.

        Raises
        ------
        InputError
            The settings can't be right for such an image.
        """
        raise NotImplementedError


def timed(denoiser: Denoiser, channels: int) -> float:
    """Seconds that it takes per voxel and channel, of a small image of noise."""
    _, z, y, x = denoiser.stencil.smallest
    edge = max(TRIAL_EDGE, z, y, x)
    rng = np.random.default_rng(0)
    shape = (1, channels, max(TRIAL_DEPTH, z), edge, edge)
    image = rng.normal(100, 10, shape).astype(np.float32)
    denoiser.load()
    started = time.perf_counter()
    denoiser.denoise(image)
    return (time.perf_counter() - started) / image.size
