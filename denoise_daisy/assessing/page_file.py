"""The file of a page that a person asked for: where it may lie, and writing it."""

import os
from collections.abc import Sequence
from pathlib import Path

from denoise_daisy.durable import persistently, write_atomic
from denoise_daisy.errors import InputError, RunStopped

MARK = b'<meta name="generator" content="denoise_daisy">'
"""In the head of every page of this program."""

ENDINGS = (".html", ".htm")

HEAD = 1000
"""Bytes of a file in which the mark stands."""


def preview_file(config_file: Path, asked: str | None) -> Path:
    """Where a preview is written: beside the config, unless asked otherwise."""
    return Path(asked) if asked else config_file.with_suffix(".preview.html")


def check_file(file: Path, taken: Sequence[Path], what: str) -> None:
    """Refuse a place at or in one that is taken, or where another file lies.

    `what` is the page that is to be written: a preview, a report.

    Raises
    ------
    InputError
        With what to change.
    """
    there = Path(os.path.realpath(file))
    for place in taken:
        if there.is_relative_to(os.path.realpath(place)):
            raise _unfit(file, f"lies at or in {str(place)!r}", what)
    try:
        if persistently(there.is_dir):
            raise _unfit(file, "is a folder", what)
        if not persistently(there.parent.is_dir):
            raise _unfit(file, "lies in no folder that is there", what)
        if not os.access(there.parent, os.W_OK | os.X_OK):
            raise _unfit(file, "lies in a folder that can't be written", what)
        if persistently(there.exists) and not _is_page(there):
            raise _unfit(file, f"exists and is no {what} of this program's", what)
        if there.suffix.lower() not in ENDINGS:
            raise _unfit(file, "is a web page, and is not named as one (.html)", what)
    except OSError as error:
        raise _unfit(file, f"can't be used ({error.strerror})", what) from error


def _is_page(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return MARK in opened.read(HEAD)


def _unfit(file: Path, why: str, what: str) -> InputError:
    return InputError(f"The {what} {str(file)!r} {why}. Choose another place with -o.")


def write_page(file: Path, page: str, what: str) -> None:
    """Write the page; the file appears whole.

    Raises
    ------
    RunStopped
        It can't be written.
    """
    try:
        write_atomic(Path(os.path.realpath(file)), page)
    except OSError as error:
        raise RunStopped(
            f"The {what} {str(file)!r} can't be written ({error.strerror}). Correct"
            " that, or choose another place with -o."
        ) from error
