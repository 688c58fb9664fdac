"""`inspect`: say what a file holds."""

import argparse
import json
from typing import TYPE_CHECKING

from denoise_daisy.commands.common import print_answer
from denoise_daisy.runs.inspect import inspect

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("inspect", help="say what a file holds")
    verb.add_argument("file", metavar="FILE")
    verb.add_argument("--json", action="store_true", help="as JSON, for programs")
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    found = inspect(options.file)
    print_answer(json.dumps(found.json, indent=2) if options.json else str(found))
