"""`view`: look at the raw and the denoised image, and at what tasks have made."""

import argparse
import os
import shutil
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from denoise_daisy.errors import InputError
from denoise_daisy.viewing.layers import layers_of
from denoise_daisy.viewing.napari_window import check_napari, show
from denoise_daisy.viewing.neuroglancer_server import check_neuroglancer, serve

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs

SAY = partial(print, file=sys.stderr, flush=True)

LAST_PORT = 65535

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def add(verbs: "Verbs") -> None:
    """Add its parser."""
    verb = verbs.add_parser("view", help="look at the image, in napari")
    verb.add_argument("path", metavar="CONFIG|OUTPUT|RUN_DIR", type=Path)
    verb.add_argument(
        "--screenshot",
        metavar="FILE.png",
        type=Path,
        help="draw a picture and end; needs no display where xvfb-run is installed",
    )
    verb.add_argument(
        "--at",
        metavar="t=0,z=5",
        type=_position,
        default={},
        help="time point and plane to begin at",
    )
    verb.add_argument(
        "--neuroglancer",
        action="store_true",
        help="serve it to a browser instead, at a URL that is printed",
    )
    verb.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address that Neuroglancer's server listens at (default: %(default)s)",
    )
    verb.add_argument(
        "--port", type=_port, default=0, help="its port (default: any that is free)"
    )
    verb.set_defaults(call=_call)


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= LAST_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no port. Expected a number from 0 (any) to {LAST_PORT}"
        )
    return number


def _position(text: str) -> dict[str, int]:
    """Voxels by axis."""
    found = {}
    for part in text.split(","):
        axis, is_there, number = part.strip().partition("=")
        if axis not in ("t", "z") or not is_there or not number.isdecimal():
            raise argparse.ArgumentTypeError(
                f"{text!r} is no position. Expected one such as t=0,z=5"
            )
        found[axis] = int(number)
    return found


def _call(options: argparse.Namespace) -> None:
    if options.neuroglancer:
        _serve(options)
        return
    check_napari()
    picture: Path | None = options.screenshot
    if picture is not None:
        _check_place(picture)
    _find_display(is_picture=picture is not None)
    show(layers_of(options.path, SAY), options.at, picture)
    if picture is not None:
        print(picture)


def _check_place(picture: Path) -> None:
    folder = picture.absolute().parent
    if picture.is_dir():
        why = "it is a folder"
    elif not folder.is_dir():
        why = "there is no such folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = "nothing can be written into its folder"
    else:
        return
    raise InputError(
        f"{str(picture)!r} can't be written: {why}. Expected a file in a folder that is"
        " there and can be written."
    )


def _serve(options: argparse.Namespace) -> None:
    """Neuroglancer's layers, until somebody stops it."""
    if options.screenshot is not None:
        raise InputError(
            "--screenshot is napari's, and --neuroglancer has a page of its own."
            " Expected one of the two."
        )
    check_neuroglancer()

    def say(url: str) -> None:
        port = urlsplit(url).port
        print(url, flush=True)
        SAY(
            "Open that in a browser; it is served until Ctrl-C. From another machine:"
            f" ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
        )

    layers = layers_of(options.path, SAY)
    serve(layers, say, options.at, options.bind, options.port)


def _find_display(*, is_picture: bool) -> None:
    """Go on under a virtual display where a picture is to be drawn without one."""
    if sys.platform != "linux" or any(os.environ.get(name) for name in DISPLAYS):
        return
    program = shutil.which("xvfb-run")
    if is_picture and program:
        words = [sys.executable, "-m", "denoise_daisy", *sys.argv[1:]]
        screen = ["-a", "-s", "-screen 0 1600x1200x24"]
        os.execv(program, [program, *screen, *words])  # noqa: S606 - no shell
    raise InputError(
        "There is no display here, on which napari could draw. Expected a desktop, or"
        " for `view --screenshot` the program xvfb-run (package xvfb)."
    )
