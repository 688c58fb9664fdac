"""The seam for denoisers: what the rest of the program asks of one.

A denoiser is a value that is made from its section of the config and answers for
itself.  To add one, write a module with a section and a `Denoiser`, and name the
section in `denoise_daisy.denoisers`.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.denoisers.noise import Noise
from denoise_daisy.denoisers.survey import Survey
from denoise_daisy.geometry import Stencil
from denoise_daisy.images.image import Image
from denoise_daisy.sections import Section

TRIAL_DEPTH = 8
TRIAL_EDGES = (4, 12, 48, 144)
"""Voxels along z at most, and along y and x, of the images that it is timed on."""

TRIAL_SECONDS = 0.2
"""An image that takes so long is the last: the next takes some twenty times longer."""


class Denoiser(ABC):
    """One array in, one array out, of ``(t, c, z, y, x)``."""

    kind: ClassVar[str]
    """As in the config."""

    @property
    @abstractmethod
    def bytes_per_voxel(self) -> int:
        """Peak memory per voxel and channel of its input, beyond the input.

        Until the result is of the output's type.
        """

    @property
    def process_bytes(self) -> int:
        """Memory that it takes in a worker beyond what every worker has."""
        return 0

    @property
    def scratch_bytes(self) -> int:
        """Memory that it works with beside the voxels, while it does."""
        return 0

    @property
    @abstractmethod
    def stencil(self) -> Stencil:
        """What an output voxel depends on."""

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """The settings and versions that decide its bytes, by name; plain JSON."""

    @property
    @abstractmethod
    def engine(self) -> str:
        """What computes here, in words; certain once it was loaded."""

    @abstractmethod
    def denoise(self, image: np.ndarray) -> np.ndarray:
        """The image denoised, same shape, of whatever type."""

    @property
    def repeats(self) -> bool:
        """Whether the same input always gives the same bytes."""
        return True

    @property
    def shares_threads(self) -> bool:
        """Whether more threads make it faster here, and change no byte."""
        return False

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

    def probe(self, image: Image) -> tuple["Denoiser", Survey | None]:
        """The denoiser that knows the image, and what that tells of its noise if asked.

        Raises
        ------
        InputError
            The image tells nothing of what it needs to know.
        """
        return self, None

    def doubts(self, image: Image, survey: Survey) -> Iterator[str]:
        """What is doubtful about what it knows of an image, by that image's survey."""
        yield from ()

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027 - most have none
        """Refuse an image of that shape, ``(t, z, y, x)``, that it can't denoise.

        Raises
        ------
        InputError
            With the setting to change.
        """

    def padding(self, shape: Sequence[int]) -> Coordinate:
        """Layers to be mirrored behind the far end of each axis of such an image.

        Both are of ``(t, z, y, x)``.  The image so padded is denoised, and cropped.
        """
        return Coordinate([0] * len(shape))

    def warnings(self, shape: Sequence[int], end: Sequence[int]) -> Iterator[str]:
        """What a person should know before denoising an image of that shape, padded.

        `end` is that of the region to be written; both are in ``(t, z, y, x)``.
        """
        yield from ()

    def steps(self, shape: Sequence[int], channels: int) -> float:
        """What its time grows with, for an image of ``(t, z, y, x)``: all neighbours.

        They need not be more than about right.
        """
        window = math.prod(2 * int(reach) + 1 for reach in self.stencil.reach)
        return math.prod(shape) * channels * window

    def seconds_per_step(self, channels: int) -> float:
        """How long a step takes a worker on this machine, by trial; a few seconds."""
        return timed(self, channels)

    def pace(self, channels: int) -> Pace:
        """How long it takes an image of so many channels."""
        return Pace(
            lambda shape: self.steps(shape, channels),
            lambda: self.seconds_per_step(channels),
        )

    def load(self, dtype: np.dtype[Any]) -> None:  # noqa: B027 - most have nothing
        """Load its engine; called once in every worker, at its start.

        `dtype` is that of the images to come.

        Raises
        ------
        RefusedError
            It can't do them here.
        """


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
    """Seconds that a step takes it, of small images of noise, each larger than before.

    Counted is the processor's time: who else is at work on the machine does not matter.
    Nor does what it loads when it is used first, for an image as small as can be.
    """
    _, z, y, x = denoiser.stencil.smallest
    rng = np.random.default_rng(0)
    denoiser.load(np.dtype(np.float32))
    step = 0.0
    for edge in (0, *TRIAL_EDGES):
        shape = (1, max(min(edge, TRIAL_DEPTH), z), max(edge, y), max(edge, x))
        image = rng.normal(100, 10, (1, channels, *shape[1:])).astype(np.float32)
        started = time.process_time()
        denoiser.denoise(image)
        seconds = time.process_time() - started
        step = seconds / denoiser.steps(shape, channels)
        if edge and seconds >= TRIAL_SECONDS:
            break
    return step
