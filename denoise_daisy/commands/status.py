"""`status`: say how far a run is."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from denoise_daisy.api.found import find_run
from denoise_daisy.commands.common import add_path_of_run, print_answer
from denoise_daisy.monitoring.as_json import status_json
from denoise_daisy.monitoring.collect import StatusReader
from denoise_daisy.monitoring.many import ManyReader, ManyStatus, many_text
from denoise_daisy.monitoring.text import status_text
from denoise_daisy.monitoring.values import RunStatus
from denoise_daisy.monitoring.watch import Watching
from denoise_daisy.run_dir.many_record import is_of_many
from denoise_daisy.waits import WAITS

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("status", help="say how far a run is")
    add_path_of_run(verb)
    verb.add_argument(
        "--watch", action="store_true", help="say it again and again, till it is over"
    )
    verb.add_argument(
        "--json",
        action="store_true",
        help="print it as a JSON object; with --watch, one in each line",
    )
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    run_dir = find_run(options.path)
    reader = ManyReader(run_dir) if is_of_many(run_dir) else StatusReader(run_dir)

    words: Callable[[RunStatus | ManyStatus], str] = _text
    if options.json:
        words = partial(status_json, in_a_line=options.watch)
    if not options.watch:
        print_answer(words(reader.read()))
        return
    is_screen = sys.stdout.isatty() and not options.json
    pause = WAITS.watch if is_screen or options.json else WAITS.watch_in_words
    Watching(reader.read, words, print_answer, pause=pause, is_screen=is_screen).watch()


def _text(found: RunStatus | ManyStatus) -> str:
    return many_text(found) if isinstance(found, ManyStatus) else status_text(found)
