"""What an image tells of its noise, channel by channel, from samples all over it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from denoise_daisy.denoisers.expected_levels import expected_levels
from denoise_daisy.denoisers.noise_samples import Window, sample
from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Image

if TYPE_CHECKING:
    from denoise_daisy.algorithms.noise_blocks import Levels
    from denoise_daisy.algorithms.noise_fit import NoiseFit
    from denoise_daisy.denoisers.noise_drift import Drift


@dataclass(frozen=True, eq=False)
class ChannelSurvey:
    """What one channel tells."""

    name: str
    windows: tuple[Window, ...] = ()
    """What was sampled."""
    levels: "Levels | None" = None
    """The grey levels in these; None where they can't be read, or are no numbers."""
    expected: np.ndarray | None = None
    """Grey levels as they would be without noise, ascending; None as `levels`."""
    found: "NoiseFit | None" = None
    """The noise that fits them; None where they tell nothing of it."""
    drift: "tuple[Drift, ...]" = ()
    """Over T and Z, where there are some positions along these, and a fit to trust."""
    problem: str = ""
    """Why they tell nothing of the noise, and what to do."""

    @property
    def fit(self) -> "NoiseFit":
        """The noise that fits.

        Raises
        ------
        InputError
            There is none.
        """
        if self.found is None:
            raise InputError(self.problem)
        return self.found


@dataclass(frozen=True, eq=False)
class Survey:
    """What an image tells of its noise."""

    channels: tuple[ChannelSurvey, ...]


def survey(image: Image) -> Survey:
    """Sample every channel by itself, one after the other.

    What can't be read or fitted is a channel's `problem`, and no error.
    """
    names = [channel.name for channel in image.channels]
    return Survey(tuple(_of_channel(image, i, name) for i, name in enumerate(names)))


def _of_channel(image: Image, channel: int, name: str) -> ChannelSurvey:
    try:
        samples = sample(image, channel)
    except InputError as error:
        return ChannelSurvey(name, problem=str(error))
    # Half a second to import, which only those spend who calibrate.
    from denoise_daisy.algorithms.noise_blocks import levels_of  # noqa: PLC0415
    from denoise_daisy.algorithms.noise_fit import fit_noise  # noqa: PLC0415
    from denoise_daisy.denoisers.noise_drift import drifts  # noqa: PLC0415

    windows = tuple(s.window for s in samples)
    planes, valid = [s.voxels for s in samples], [s.valid for s in samples]
    levels, expected, why = None, None, ""
    try:
        with np.errstate(over="raise"):
            levels = levels_of(planes, valid)
            expected = expected_levels(planes, valid)
            fit = fit_noise(planes, valid)
            is_trusted = fit.verdict != "not to be trusted"
            drift = tuple(drifts(samples, fit, levels)) if is_trusted else ()
            return ChannelSurvey(name, windows, levels, expected, fit, drift)
    except ValueError as error:
        why = str(error)
    except FloatingPointError:
        why = "its grey levels are too large"
    problem = (
        f"The noise of channel {name!r} can't be calibrated: {why}. Set noise.gains and"
        " noise.offsets, or noise.kind to gaussian with noise.noise_std."
    )
    return ChannelSurvey(name, windows, levels, expected, problem=problem)
