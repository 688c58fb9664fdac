"""`inspect`: say what a file holds."""

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
    verb.set_defaults(call=lambda options: say(options.file, as_json=options.json))


def say(file: str, *, as_json: bool) -> None:
    """Print what a file holds."""
    found = inspect(file)
    print_answer(json.dumps(found.json, indent=2) if as_json else str(found))
