"""`calibrate`: say what the noise of an image is, draw it, put it into the config."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_daisy.api.calibrate import calibrate
from denoise_daisy.commands.common import print_answer
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import is_image
from denoise_daisy.runs.calibrate import config_of, write_numbers, write_page
from denoise_daisy.runs.many_images import is_many

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("calibrate", help="say what the noise of an image is")
    verb.add_argument("path", metavar="CONFIG|IMAGE", type=Path)
    verb.add_argument(
        "--write", action="store_true", help="put the numbers into the config"
    )
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    path: Path = options.path
    if options.write and is_image(path):
        raise InputError(
            f"--write puts numbers into a config, and {str(path)!r} is an image. Make a"
            " config of it with `denoise-daisy init`, and calibrate that."
        )
    config = config_of(path)
    if options.write and is_many(config) and not config.noise.shared:
        raise InputError(
            f"--write puts numbers into a config, and {str(path)!r} names many images,"
            " each of which is calibrated by itself. Set noise.shared to calibrate them"
            " together."
        )
    found = calibrate(config)
    print_answer(str(found))
    print_answer(f"Plots: {write_page(found, path)}")
    if options.write:
        write_numbers(found, path)
        print_answer(f"Written into {path}.")
