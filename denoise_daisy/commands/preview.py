"""`preview`: denoise small parts, and show what that does to them."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_daisy.api.preview import preview
from denoise_daisy.assessing.page_file import check_file, preview_file, write_page
from denoise_daisy.commands.common import print_answer
from denoise_daisy.config import Config
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.many_images import first_of
from denoise_daisy.runs.preview_page import page

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs

MOST_REGIONS = 12


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser(
        "preview", help="denoise small parts and write a page that shows them"
    )
    verb.add_argument("config", metavar="CONFIG")
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "--roi",
        action="append",
        default=[],
        metavar="z=0:4,y=0:48,x=0:48",
        help="a part to show (can be repeated); else some are chosen",
    )
    where.add_argument(
        "--auto",
        type=int,
        choices=range(1, MOST_REGIONS + 1),
        metavar="N",
        help="how many parts are chosen (4, or fewer where that takes long)",
    )
    verb.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="values of a key of denoise or noise to compare (can be repeated)",
    )
    verb.add_argument(
        "-o",
        "--output",
        metavar="FILE.html",
        help="the page (default: CONFIG.preview.html, beside the config)",
    )
    verb.add_argument(
        "--unchecked-ndsafir",
        action="store_true",
        help="accept a version of ndsafir that blocks were not checked with",
    )
    verb.set_defaults(call=_call)


def _call(options: argparse.Namespace) -> None:
    file = preview_file(Path(options.config), options.output)
    one, _ = first_of(Config.load(options.config))
    output = Path(one.output.path)
    taken = (output, RunDir.of_output(output).path, Path(one.input.one.path))
    check_file(file, taken, "preview")
    found = preview(
        options.config,
        roi=options.roi,
        auto=options.auto,
        sweep=options.sweep,
        unchecked_ndsafir=options.unchecked_ndsafir,
        say=partial(print, file=sys.stderr, flush=True),
    )
    write_page(file, page(found, Path(options.config).name), "preview")
    print_answer(f"{found}\nPreview: {file}")
