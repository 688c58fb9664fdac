"""The file that is exported to: refused early, and there only once it is whole."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from denoise_daisy.amounts import size
from denoise_daisy.blockwise.patience import UnrecordedError
from denoise_daisy.durable import partial_of, sync
from denoise_daisy.errors import BlocksFailed, InputError, Interrupted, RunStopped
from denoise_daisy.images.file_identity import file_at
from denoise_daisy.images.series_files import is_member, is_series
from denoise_daisy.machine import free_disk
from denoise_daisy.outputs.ome_zarr import DamagedError
from denoise_daisy.sections import is_url


def check_target(
    path: Path, picture: Path, sources: Sequence[str] = (), *, overwrite: bool
) -> None:
    """Refuse a file that can't be written, or must not.

    `sources` are paths of the run's input, as it is known.

    Raises
    ------
    InputError
        With what to change.
    """
    what = f"{str(path)!r} can't be written:"
    folder = Path(os.path.realpath(path)).parent
    if path.is_dir():
        raise InputError(f"{what} a folder is there. Expected the name of a file.")
    if not folder.is_dir():
        raise InputError(
            f"{what} there is no folder {str(folder)!r}. Make it, or choose another."
        )
    if folder.is_relative_to(os.path.realpath(picture)):
        raise InputError(
            f"{what} it would lie in the output {str(picture)!r}. Expected a place"
            " beside it."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{what} the folder {str(folder)!r} is not yours to write to. Choose"
            " another, or correct its permissions."
        )
    if os.path.lexists(path) and not overwrite:
        raise InputError(
            f"{str(path)!r} is there already. Choose another name, or replace it with"
            " --overwrite."
        )
    if any(_is_of(path, source) for source in sources):
        raise InputError(
            f"{what} it is the input of the run, or a part of it. Expected another"
            " name."
        )


def _is_of(path: Path, source: str) -> bool:
    """Whether a file is an image's, or one of those that it consists of."""
    if is_url(source):
        return False
    place, image = Path(os.path.realpath(path)), Path(os.path.realpath(source))
    if is_series(source) and is_member(str(image), str(place)):
        return True
    own = file_at(image) or image
    with suppress(OSError):
        # By another name, too.
        return place.is_relative_to(own) or place.samefile(own)
    return False


def check_room(path: Path, needed: int, about: str = "") -> None:
    """Refuse what the disk has no room for, of which so many bytes are needed.

    Raises
    ------
    RunStopped
        With both numbers.
    """
    free, _ = free_disk(path.absolute().parent)
    if free < needed:
        raise RunStopped(
            f"{str(path)!r} takes {about}{size(needed)}, but only {size(free)} are free"
            f" in {str(path.absolute().parent)!r}. Nothing was written; make room,"
            " choose another place, or export less with --roi and --channels."
        )


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where to write meanwhile; at the end it gets its name, else it is removed.

    Raises
    ------
    RunStopped
        The disk is full, or else fails.
    BlocksFailed
        What is read is not what was written.
    Interrupted
        By SIGTERM or SIGHUP.
    """
    target = Path(os.path.realpath(path))
    partial = partial_of(target)
    try:
        with _ended_by_signals():
            yield partial
            sync(partial)
            partial.replace(target)
            sync(target.parent)
    except (DamagedError, UnrecordedError, FileNotFoundError) as error:
        raise BlocksFailed(
            f"What was to be exported is not what was written: {error}. Nothing was"
            " exported; run `verify`, start the run again, and export then."
        ) from error
    except OSError as error:
        raise RunStopped(
            f"{str(path)!r} could not be written ({error.strerror or error}). Nothing"
            " is left of it; correct that and export again."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Raise where a signal would end this process without cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: Any) -> None:
        name = signal.Signals(number).name
        raise Interrupted(f"Stopped by {name}. Nothing was exported.", number)

    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
