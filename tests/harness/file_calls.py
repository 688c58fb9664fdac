"""By which calls files reach the disk: noted as they are done, with file and size."""

import json
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call of the system, after it was done."""

    what: str
    """open (for writing), write, sync, rename or mkdir."""

    path: str
    """What the file is called, or the folder; after a renaming, its new name."""

    number: int
    """The inode."""

    size: int


def note_calls(note: Callable[[Call], None]) -> dict[str, Any]:
    """Stand-ins, by name, for the functions of `os` that bring files to the disk."""
    real_open, real_write, real_sync = os.open, os.write, os.fsync

    def noted(what: str, fd: int) -> None:
        stat = os.fstat(fd)
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        note(Call(what, path, stat.st_ino, stat.st_size))

    def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        fd: int = real_open(path, flags, *arguments, **options)
        if flags & (os.O_WRONLY | os.O_RDWR):
            noted("open", fd)
        return fd

    def written(fd: int, data: Any) -> int:
        count: int = real_write(fd, data)
        noted("write", fd)
        return count

    def synced(fd: int) -> None:
        real_sync(fd)
        noted("sync", fd)

    return {
        "open": opened,
        "write": written,
        "fsync": synced,
        "rename": _renaming(os.rename, note),
        "replace": _renaming(os.replace, note),
        "mkdir": _making(os.mkdir, note),
    }


def _renaming(real: Callable[[Any, Any], None], note: Callable[[Call], None]) -> Any:
    def renamed(old: Any, new: Any) -> None:
        real(old, new)
        stat = Path(new).stat()
        note(Call("rename", str(new), stat.st_ino, stat.st_size))

    return renamed


def _making(real: Callable[..., None], note: Callable[[Call], None]) -> Any:
    def made(path: Any, *arguments: Any, **options: Any) -> None:
        real(path, *arguments, **options)
        stat = Path(path).stat()
        note(Call("mkdir", str(path), stat.st_ino, stat.st_size))

    return made


def log_calls(path: str) -> None:
    """Note all calls of this process in a file of its own, as lines of JSON."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log, write = os.open(f"{path}{os.getpid()}", flags), os.write

    def note(call: Call) -> None:
        write(log, json.dumps(astuple(call)).encode() + b"\n")

    for name, stand_in in note_calls(note).items():
        setattr(os, name, stand_in)
