"""`calibrate`: what the noise of an image is."""

import os
from dataclasses import replace
from pathlib import Path

from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.images.formats import is_image
from denoise_daisy.runs.calibrate import (
    Calibration,
    calibration_of,
    config_of,
)
from denoise_daisy.runs.calibrate import calibrate as calibrate_one
from denoise_daisy.runs.many_images import first_of, is_many
from denoise_daisy.runs.shared_noise import shared_image


def calibrate(config: AnyConfig) -> Calibration:
    """What the noise of an image is: numbers, intervals, a verdict, plots.

    Parameters
    ----------
    config
        A config, its path or a dict; or the path of an image.  Of many images the
        first is calibrated, or with ``noise.shared`` some of them together.

    Returns
    -------
    Calibration
        `numbers` are what a run would find: gains in grey levels per photo-electron,
        offsets in squared grey levels.  `fits` tells more of each channel, `warnings`
        what is doubtful, `page` has the plots, and `put_into` makes a config with the
        numbers of another.  Nothing is written.

    Raises
    ------
    InputError
        The image can't be opened, or the config can't be used.
    """
    if isinstance(config, str | os.PathLike) and is_image(os.fspath(config)):
        return calibrate_one(config_of(Path(config)))
    given = Config.of(config)
    one, note = first_of(given)
    if is_many(given) and given.noise.shared:
        return calibration_of(shared_image(given), one)
    return replace(calibrate_one(one), note=note)
