"""`verify`: read the output back and compare it with the ledger."""

import argparse
from typing import TYPE_CHECKING

from denoise_daisy.api.found import find_run
from denoise_daisy.commands.common import add_path_of_run
from denoise_daisy.run_dir.many_record import is_of_many
from denoise_daisy.runs.many_views import verify_many
from denoise_daisy.runs.verify import verify

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser(
        "verify", help="read the output back and compare it with the ledger"
    )
    add_path_of_run(verb)
    verb.set_defaults(call=_call, always_does=True)


def _call(options: argparse.Namespace) -> None:
    run_dir = find_run(options.path)
    read_back = verify_many if is_of_many(run_dir) else verify
    print(read_back(run_dir), flush=True)
