"""`schema`: print the JSON Schema of the config."""

import argparse
import json
from typing import TYPE_CHECKING

from denoise_daisy.commands.common import print_answer
from denoise_daisy.config import Config

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("schema", help="print the JSON Schema of the config")
    verb.set_defaults(call=_call)


def _call(_: argparse.Namespace) -> None:
    print_answer(json.dumps(Config.model_json_schema(), indent=2))
