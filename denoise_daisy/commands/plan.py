"""`plan`: say what a run would do; of a file that is an image, what it holds."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from denoise_daisy.commands import inspect
from denoise_daisy.commands.common import add_run_options, print_answer
from denoise_daisy.config import Config
from denoise_daisy.images.formats import is_image
from denoise_daisy.runs.many_images import is_many
from denoise_daisy.runs.many_views import plan_many
from denoise_daisy.runs.planning import plan
from denoise_daisy.runs.warnings import refuse

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("plan", help="say what a run would do")
    add_run_options(verb)
    verb.add_argument(
        "--probe",
        action="store_true",
        help="denoise one block, to measure its time and memory; may take minutes",
    )
    verb.add_argument(
        "--json", action="store_true", help="as JSON, with the names of `runs/plan.py`"
    )
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    if is_image(options.config):
        inspect.say(options.config, as_json=options.json)
        return
    config = Config.load(options.config)
    made = (plan_many if is_many(config) else plan)(
        config,
        tasks=options.task,
        unchecked_ndsafir=options.unchecked_ndsafir,
        probe=options.probe,
        extend=options.extend,
        say=partial(print, file=sys.stderr, flush=True),
    )
    print_answer(made.json() if options.json else str(made))
    if options.strict:
        refuse(made.warnings)
