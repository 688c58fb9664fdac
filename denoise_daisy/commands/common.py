"""What verbs of the command line have in common."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from denoise_daisy.errors import RunStopped
from denoise_daisy.streams import print_whole

if TYPE_CHECKING:
    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def add_run_options(verb: argparse.ArgumentParser) -> None:
    """What a run and its plan are told."""
    verb.add_argument("config", metavar="CONFIG")
    verb.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="NAME",
        help="only this task of the config (can be repeated; denoise is the first)",
    )
    verb.add_argument(
        "--unchecked-ndsafir",
        action="store_true",
        help="accept a version of ndsafir that blocks were not checked with",
    )
    verb.add_argument(
        "--extend",
        action="store_true",
        help="go on where the image has got longer along t since",
    )
    verb.add_argument(
        "--strict", action="store_true", help="end with code 2 if there are warnings"
    )


def add_path_of_run(verb: argparse.ArgumentParser) -> None:
    """Which run it is about."""
    verb.add_argument("path", metavar="CONFIG|OUTPUT|RUN_DIR", type=Path)


def print_answer(text: str) -> None:
    """Print what was asked for.

    Raises
    ------
    RunStopped
        It can't be written.
    """
    try:
        print_whole(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunStopped(
            f"Standard output can't be written ({error.strerror}), and printing was all"
            " that was to be done. Correct that and ask again."
        ) from error
