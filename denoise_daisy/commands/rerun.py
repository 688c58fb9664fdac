"""`rerun`: do a run again from its output alone, and the input."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_daisy.api.found import find_output
from denoise_daisy.runs.rerun import Elsewhere, rerun
from denoise_daisy.runs.run_one import Asked

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser(
        "rerun", help="do a run again, to the byte, from its output alone and the input"
    )
    verb.add_argument(
        "path",
        metavar="OUT.zarr",
        type=Path,
        help="or its run directory, or its config",
    )
    verb.add_argument(
        "--output",
        type=Path,
        metavar="NEW.zarr",
        help="where it is written (default OUT_rerun.zarr, beside it)",
    )
    verb.add_argument(
        "--input", metavar="FILE", help="where the input is now, if it was moved"
    )
    verb.add_argument(
        "--local",
        action="store_true",
        help="compute on this machine, wherever the run was computed",
    )
    verb.add_argument(
        "--unchecked-ndsafir",
        action="store_true",
        help="accept a version of ndsafir that blocks were not checked with",
    )
    verb.set_defaults(call=_call, always_does=True)


def _call(options: argparse.Namespace) -> None:
    rerun(
        find_output(options.path),
        Elsewhere(options.output, options.input, options.local),
        Asked(unchecked_ndsafir=options.unchecked_ndsafir),
        say=partial(print, flush=True),
    )
