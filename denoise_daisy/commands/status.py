"""`status`: say how far a run is."""

import argparse
from typing import TYPE_CHECKING

from denoise_daisy.commands.common import add_path_of_run, find_run, print_answer
from denoise_daisy.runs.status import status

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("status", help="say how far a run is")
    add_path_of_run(verb)
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    print_answer(status(find_run(options.path)))
