"""`init`: write a config for a file."""

import argparse
from typing import TYPE_CHECKING

from denoise_daisy.launchers import KINDS
from denoise_daisy.runs.init import init

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("init", help="write a config for a file")
    verb.add_argument("file", metavar="FILE")
    verb.add_argument(
        "-o",
        "--output",
        default="config.json",
        metavar="CONFIG",
        help="where to write it (default config.json)",
    )
    verb.add_argument(
        "--scene", type=int, metavar="N", help="which scene, if there are several"
    )
    verb.add_argument(
        "--workers", choices=KINDS, default="local", help="who computes the blocks"
    )
    verb.set_defaults(call=_call, always_does=True)


def _call(options: argparse.Namespace) -> None:
    said = init(
        options.file, options.output, scene=options.scene, workers=options.workers
    )
    print(said, flush=True)
