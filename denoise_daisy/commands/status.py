"""`status`: say how far a run is."""

import argparse
from typing import TYPE_CHECKING

from denoise_daisy.api.found import find_run
from denoise_daisy.commands.common import add_path_of_run, print_answer
from denoise_daisy.run_dir.many_record import is_of_many
from denoise_daisy.runs.many_views import status_of_many
from denoise_daisy.runs.status import status

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("status", help="say how far a run is")
    add_path_of_run(verb)
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    run_dir = find_run(options.path)
    look = status_of_many if is_of_many(run_dir) else status
    print_answer(look(run_dir))
