"""`run`: denoise; go on where an earlier start stopped."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from denoise_daisy.commands.common import add_run_options
from denoise_daisy.config import Config
from denoise_daisy.runs.run import run

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("run", help="denoise; go on where an earlier start stopped")
    add_run_options(verb)
    verb.add_argument(
        "--overwrite", action="store_true", help="delete the output and start over"
    )
    verb.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="what blocks in flight get after Ctrl-C (default 30)",
    )
    verb.set_defaults(call=_call, always_does=True)


def _call(options: argparse.Namespace) -> None:
    run(
        Config.load(options.config),
        tasks=options.task,
        overwrite=options.overwrite,
        grace_seconds=options.grace,
        unchecked_ndsafir=options.unchecked_ndsafir,
        strict=options.strict,
        extend=options.extend,
        say=partial(print, flush=True),
    )
