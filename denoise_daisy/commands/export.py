"""`export`: an output as OME-TIFF, or as OME-Zarr in one file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from denoise_daisy.api.found import find_output
from denoise_daisy.errors import InputError
from denoise_daisy.exporting.export import export
from denoise_daisy.runs.output_places import is_made_here

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser(
        "export", help="write an output as OME-TIFF, or as OME-Zarr in one file"
    )
    verb.add_argument("path", metavar="CONFIG|OUTPUT|RUN_DIR", type=Path)
    verb.add_argument(
        "target",
        metavar="FILE",
        type=Path,
        help="what to write: FILE.ome.tif, or FILE.ozx",
    )
    verb.add_argument(
        "--image",
        default="",
        metavar="NAME",
        help="the image or the labels of a task, rather than the denoised image",
    )
    verb.add_argument(
        "--roi",
        action="append",
        default=[],
        metavar="t=0:4,z=3",
        help="only this part, in voxels from the first of what is exported",
    )
    verb.add_argument(
        "--channels", metavar="NAME,NUMBER", help="only these, in this order"
    )
    verb.add_argument(
        "--level",
        type=int,
        choices=range(64),
        default=0,
        metavar="N",
        help="this level of the pyramid as the full resolution (default: 0)",
    )
    verb.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there"
    )
    verb.set_defaults(call=_call, always_does=True)


def _call(options: argparse.Namespace) -> None:
    done = export(
        _output(options.path),
        options.target,
        image=options.image,
        roi=options.roi,
        channels=options.channels,
        level=options.level,
        overwrite=options.overwrite,
    )
    print(done, flush=True)


def _output(path: Path) -> Path:
    """The output that a config, an output, even alone, or a run directory means."""
    output = find_output(path)
    if not output.is_dir() or not is_made_here(output):
        raise InputError(
            f"{str(output)!r} is no output of this program. Expected a config file, an"
            " output (….zarr) or its run directory (….zarr.run)."
        )
    return output
