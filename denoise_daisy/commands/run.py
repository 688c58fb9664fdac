"""`run`: denoise; go on where an earlier start stopped."""

import argparse
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from denoise_daisy.api.run import run
from denoise_daisy.commands.common import add_run_options
from denoise_daisy.config import Config

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
    verb.add_argument(
        "--json",
        action="store_true",
        help="print events for other programs, a JSON object a line",
    )
    verb.set_defaults(call=_call, always_does=True)


def _call(options: argparse.Namespace) -> None:
    def tell(event: Mapping[str, Any]) -> None:
        # In one piece: other threads may have something to tell as well.
        print(f"{json.dumps(event)}\n", end="", flush=True)

    def say(text: str) -> None:
        tell({"event": "message", "text": text})

    run(
        Config.load(options.config),
        tasks=options.task,
        overwrite=options.overwrite,
        grace_seconds=options.grace,
        unchecked_ndsafir=options.unchecked_ndsafir,
        strict=options.strict,
        extend=options.extend,
        say=say if options.json else partial(print, flush=True),
        tell=tell if options.json else None,
    )
