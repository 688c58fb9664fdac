"""Files that appear whole, and outlive a power cut and a file system's hiccups."""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from denoise_daisy.waits import WAITS

TRANSIENT = (
    *(errno.EIO, errno.ESTALE, errno.EBUSY, errno.ETIMEDOUT),
    *(errno.EREMOTEIO, errno.ENOLCK, errno.ENOTCONN),
)
"""What a file server says that is away for a moment."""

Result = TypeVar("Result")


def persistently(act: Callable[[], Result]) -> Result:
    """What `act` returns, tried again for a while where the file system hiccups."""
    started, pause = time.monotonic(), WAITS.retry
    while True:
        try:
            return act()
        except OSError as error:
            left = WAITS.hiccup - (time.monotonic() - started)
            if error.errno not in TRANSIENT or left <= 0:
                raise
        time.sleep(min(pause, left))
        pause *= 2


def sync(path: Path) -> None:
    """Make a file or folder durable: it outlives a crash of the machine.

    A folder that may be written but not read is left to the system.  It is not tried
    again: what could not be made durable once may be lost, and has to be written again.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def partial_of(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")


def write_atomic(
    path: Path,
    data: str | bytes | memoryview,
    mode: int = 0o644,
    *,
    durable: bool = True,
) -> None:
    """Write a file that appears whole, and durable unless told otherwise."""
    content = data.encode() if isinstance(data, str) else data
    persistently(lambda: _write_once(path, content, mode, durable=durable))


def _write_once(
    path: Path, data: bytes | memoryview, mode: int, *, durable: bool
) -> None:
    partial = partial_of(path)
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def make_folders(path: Path, *, durable: bool = True) -> None:
    """Make a folder and those above it that are missing; their names are durable, too.

    Unless told otherwise.
    """
    persistently(lambda: _make_folders_once(path, durable=durable))


def _make_folders_once(path: Path, *, durable: bool) -> None:
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        for folder in missing if durable else ():
            sync(folder.parent)
    except OSError:
        # What could not be made durable is made again.
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def is_there(path: Path) -> bool:
    """Whether a path can be found; one that can't be asked for is not there."""
    try:
        persistently(path.stat)
    except (OSError, ValueError):
        return False
    return True


def delete(path: Path) -> None:
    """Delete a file or a folder with all that is in it, or a link but not its target.

    Nothing to delete is fine; whatever can't be deleted raises.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_raise_with_whole_path)
    else:
        path.unlink(missing_ok=True)


def _raise_with_whole_path(_: object, path: str | Path, failed: Any) -> None:
    """Not every Python that is supported says more than a file's name."""
    error: OSError = failed[1]
    error.filename = str(path)
    raise error


def remove_partials(
    folder: Path, *, older_than: float, pattern: str = "**/*.partial"
) -> None:
    """Remove what writers left, ours and Zarr's, that died in the middle of a file.

    `older_than` is a modification time, by the file server's clock.
    """
    for partial in persistently(lambda: list(folder.glob(pattern))):
        with suppress(FileNotFoundError):
            if persistently(partial.stat).st_mtime < older_than:
                persistently(partial.unlink)
