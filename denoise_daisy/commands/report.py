"""`report`: measure how good a run has become and what it cost, and write that down."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_daisy.api.found import find_run
from denoise_daisy.assessing.files import write_report
from denoise_daisy.commands.common import add_path_of_run, print_answer
from denoise_daisy.errors import InputError
from denoise_daisy.run_dir.many_record import is_of_many
from denoise_daisy.runs.many_views import report_of_many

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser(
        "report", help="say how good a run has become and what it cost"
    )
    add_path_of_run(verb)
    verb.add_argument(
        "--reference",
        metavar="FILE",
        help="an image of the same without noise, for PSNR and SSIM",
    )
    verb.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.html",
        help="the page (default: status.html in the run directory)",
    )
    verb.add_argument(
        "--within",
        type=_seconds,
        metavar="SECONDS",
        help="leave out what takes longer (default: as long as it takes)",
    )
    verb.set_defaults(call=_call)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


def _call(options: argparse.Namespace) -> None:
    run_dir = find_run(options.path)
    if not is_of_many(run_dir):
        written = write_report(
            run_dir,
            file=options.output,
            reference=options.reference,
            seconds=options.within,
        )
        print_answer(str(written))
        return
    if options.output is not None or options.reference is not None:
        raise InputError(
            f"{str(options.path)!r} stands for many images, each of which gets a report"
            " in its own run directory; -o and --reference are of one. Name the output"
            " of one of them."
        )
    print_answer(report_of_many(run_dir, seconds=options.within))
