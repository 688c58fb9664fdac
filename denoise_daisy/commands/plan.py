"""`plan`: say what a run would do."""

import argparse
from typing import TYPE_CHECKING

from denoise_daisy.commands.common import add_run_options, print_answer
from denoise_daisy.config import Config
from denoise_daisy.runs.plan_report import plan

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("plan", help="say what a run would do")
    add_run_options(verb)
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    config = Config.load(options.config)
    unchecked = options.unchecked_ndsafir
    print_answer(plan(config, tasks=options.task, unchecked_ndsafir=unchecked))
