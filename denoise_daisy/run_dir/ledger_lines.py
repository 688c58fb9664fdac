"""The lines of a ledger: what stands in one, appending them, reading new ones.

A folder of files of JSON lines, one file per writer and appended only, so that many
hosts can write at once on any file system.  A line stands for one finished or failed
block, and names the run that it belongs to: what another run has left in the folder
counts for nothing.  A torn last line, left by a writer that died, is ignored.
"""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic_core import from_json, to_json

from denoise_daisy.durable import sync
from denoise_daisy.geometry import Index

READ_BYTES = 8 << 20

Reason = Literal[
    "exception", "crash", "memory", "timeout", "lost", "damaged", "outdated"
]
"""Why a block failed: its code raised; its process died of a signal, or for want of
memory; it took too long; its worker vanished; its output was found damaged later, or
that of a block which it read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a block that is done, or an attempt at it that failed."""

    block: Index
    """Position in the grid of blocks of `shape`, ``(t, z, y, x)``."""
    shape: tuple[int, ...]
    """Voxels of a block, ``(t, z, y, x)``."""
    status: Literal["done", "failed"]
    epoch: int
    worker: str
    crc: int | None = None
    """CRC-32 of the voxels as written: ``(t, c, z, y, x)``, C order, little-endian."""
    chunks: str | None = None
    """That of each of its chunks, by which those who read a part of it can tell that it
    is what was written; see `checksums.encoded`."""
    seconds: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    clipped: int = 0
    """Voxels beyond the range of the output's type, set to its nearest value."""
    peak_mib: int = 0
    """Most memory that the worker has held so far."""
    host: str = field(default_factory=platform.node)
    time: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    reason: Reason | None = None
    error: str | None = None
    traceback: str | None = None


class LedgerWriter:
    """Appends lines to a file of its own."""

    def __init__(
        self, folder: Path, run_id: str, worker: str, *, durable: bool
    ) -> None:
        """`run_id` is that of the run in whose name the lines are written."""
        self._run_id = run_id
        self._durable = durable
        self._fd = _new_file(folder, worker)
        if durable:
            sync(folder)

    def append(self, entry: Entry) -> None:
        """Write a line, whole or not at all; on return it is on disk."""
        values = {k: v for k, v in asdict(entry).items() if v is not None}
        values["run"] = self._run_id
        line = to_json(values) + b"\n"
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                os.write(self._fd, line[written:])
            if self._durable:
                os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def sync(self) -> None:
        """Make durable what was appended."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


def _new_file(folder: Path, worker: str) -> int:
    """Open a file that nobody else writes to, with a number if its name is taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    number = 0
    while True:
        name = f"{worker}.{number}" if number else worker
        try:
            return os.open(folder / f"{name}.jsonl", flags, 0o644)
        except FileExistsError:
            number += 1


class LostLinesError(Exception):
    """Lines that were read are not there any more."""


class LedgerReader:
    """Reads the lines of one run, as they come."""

    def __init__(self, folder: Path, run_id: str, *, from_end: bool = False) -> None:
        """Read nothing yet; with `from_end` never read what is there already."""
        self._folder = folder
        self._run_id = run_id
        self._read_to: dict[str, int] = {}
        if from_end:
            self._read_to = {file.name: size for file, size in self._sizes()}
        self.unreadable: list[str] = []
        """Files with a line that is torn, makes no sense, or is another run's."""

    def new(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """What was appended since the last call: files and some of their lines.

        Raises
        ------
        LostLinesError
            A file is shorter than what was read of it: its writer could not make the
            last line durable and has taken it back.
        """
        sizes = list(self._sizes())
        if any(size < self._read_to.get(file.name, 0) for file, size in sizes):
            raise LostLinesError
        for file, size in sizes:
            if size > self._read_to.get(file.name, 0):
                with suppress(FileNotFoundError):
                    yield from self._read(file)

    def restart(self) -> None:
        """Read everything again."""
        self._read_to.clear()
        self.unreadable.clear()

    def complain(self, file: str) -> None:
        """Note that a line of that file could not be used."""
        if file not in self.unreadable:
            self.unreadable.append(file)

    def _sizes(self) -> Iterator[tuple[Path, int]]:
        """All files and how long they are."""
        try:
            entries = list(os.scandir(self._folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.name.endswith(".jsonl") and entry.is_file():
                with suppress(FileNotFoundError):
                    yield Path(entry), entry.stat().st_size

    def _read(self, file: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        start = self._read_to.get(file.name, 0)
        with file.open("rb") as stream:
            stream.seek(start)
            rest = b""
            while data := stream.read(READ_BYTES):
                lines = (rest + data).split(b"\n")
                rest = lines.pop()
                start += sum(map(len, lines)) + len(lines)
                self._read_to[file.name] = start
                yield file.name, self._own(file.name, lines)
        if rest:
            self.complain(file.name)

    def _own(self, file: str, lines: list[bytes]) -> list[dict[str, Any]]:
        """The lines of this run."""
        own = []
        for text in lines:
            try:
                line = from_json(text)
                is_own = line["run"] == self._run_id
            except (ValueError, KeyError, TypeError):
                is_own = False
            if is_own:
                own.append(line)
            else:
                self.complain(file)
        return own
