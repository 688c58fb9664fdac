"""The noise of many images, calibrated once for all of them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from denoise_daisy.config import Config
from denoise_daisy.denoisers.calibration import find_noise
from denoise_daisy.denoisers.noise import (
    GaussianNoise,
    Noise,
    NoiseNumbers,
    describe,
)
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.image import Image
from denoise_daisy.images.joined import joined
from denoise_daisy.run_dir.many_record import ManyRecord
from denoise_daisy.runs.many_images import OneOfMany, images_of, run_dir_of_many

MOST_IMAGES = 8
"""Images that are looked at, from the first to the last."""

logger = logging.getLogger("denoise_daisy")


def shared_noise(
    config: Config, images: Sequence[OneOfMany], record: ManyRecord
) -> tuple[Noise, ManyRecord]:
    """The section of a config with the numbers of all images, where it asks for that.

    What was found by an earlier start is kept, in the record that comes back.

    Raises
    ------
    InputError
        They can't be calibrated, or none of them can be opened.
    """
    noise = config.noise
    if not (noise.shared and config.denoise.knows_noise) or _is_given(noise):
        return noise, record
    kept = record.noise and NoiseNumbers.from_json(record.noise)
    if kept and kept.kind == noise.kind:
        return noise.model_copy(update=_values(kept)), record
    numbers, _ = find_noise(_joined(images), noise.kind, noise.method, None)
    logger.info("Noise of all images together: %s.", describe(numbers))
    found = record.model_copy(update={"noise": asdict(numbers)})
    return noise.model_copy(update=_values(numbers)), found


def expected_noise(config: Config) -> Noise:
    """The section that a start would denoise each image with, with nothing written.

    Raises
    ------
    InputError, RefusedError
        As of `shared_noise`; or what an earlier start has kept can't be read.
    """
    record = ManyRecord.begun(run_dir_of_many(config), "")
    return shared_noise(config, images_of(config), record)[0]


def shared_image(config: Config) -> Image:
    """The images by which the noise of all is calibrated, as one.

    Raises
    ------
    InputError
        None of them can be opened, or they are of different kinds.
    """
    return _joined(images_of(config))


def _joined(images: Sequence[OneOfMany]) -> Image:
    some = list(_some(images))
    if not some:
        raise InputError(
            "None of the images can be opened, so that their noise can't be calibrated"
            " (noise.shared). Correct input.path."
        )
    return joined(some)


def _is_given(noise: Noise) -> bool:
    if isinstance(noise, GaussianNoise):
        return noise.noise_std is not None
    return noise.gains is not None


def _values(numbers: NoiseNumbers) -> dict[str, Any]:
    return {k: v for k, v in asdict(numbers).items() if v is not None}


def _some(images: Sequence[OneOfMany]) -> Iterator[Image]:
    """Images spread over all that can be opened."""
    count = min(MOST_IMAGES, len(images))
    for i in np.linspace(0, len(images) - 1, count).round().astype(int):
        try:
            yield open_image(images[i].config.input)
        except InputError as error:
            logger.warning("%s", error)
