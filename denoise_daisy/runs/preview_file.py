"""The file of a preview: where it may lie, and writing it."""

import os
from pathlib import Path

from denoise_daisy.config import Config
from denoise_daisy.durable import persistently, write_atomic
from denoise_daisy.errors import InputError, RunStopped
from denoise_daisy.run_dir.run_dir import RunDir

MARK = b'<meta name="generator" content="denoise_daisy">'
"""In the head of every page of this program."""

HEAD = 1000
"""Bytes of a file in which the mark stands."""


def preview_file(config_file: Path, asked: str | None) -> Path:
    """Where a preview is written: beside the config, unless asked otherwise."""
    return Path(asked) if asked else config_file.with_suffix(".preview.html")


def check_file(file: Path, config: Config) -> None:
    """Refuse a place in a run's output or its input, or where another file lies.

    Raises
    ------
    InputError
        With what to change.
    """
    there = Path(os.path.realpath(file))
    output = Path(config.output.path)
    for taken in (output, RunDir.of_output(output).path, Path(config.input.one.path)):
        if there.is_relative_to(os.path.realpath(taken)):
            raise _unfit(file, f"lies at or in {str(taken)!r}")
    try:
        if not persistently(there.parent.is_dir):
            raise _unfit(file, "lies in no folder that is there")
        if not os.access(there.parent, os.W_OK | os.X_OK):
            raise _unfit(file, "lies in a folder that can't be written")
        if persistently(there.exists) and not _is_page(there):
            raise _unfit(file, "exists and is no preview of this program's")
    except OSError as error:
        raise _unfit(file, f"can't be used ({error.strerror})") from error


def _is_page(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return MARK in opened.read(HEAD)


def _unfit(file: Path, why: str) -> InputError:
    return InputError(f"The preview {str(file)!r} {why}. Choose another place with -o.")


def write_preview(file: Path, page: str) -> None:
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
            f"The preview {str(file)!r} can't be written ({error.strerror}). Correct"
            " that, or choose another place with -o."
        ) from error
