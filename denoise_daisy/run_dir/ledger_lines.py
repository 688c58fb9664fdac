"""The lines of a ledger: what stands in one, appending them, reading new ones.

A folder of files of JSON lines, one file per writer and appended only, so that many
hosts can write at once on any file system.  A line stands for one finished or failed
block, and names the run that it belongs to: what another run has left in the folder
counts for nothing.  A torn last line, left by a writer that died, is ignored.
"""

import errno
import itertools
import os
import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic_core import from_json, to_json

from denoise_daisy.durable import persistently, sync
from denoise_daisy.geometry import Index

READ_BYTES = 1 << 20

NO_ENGINE = "none"
"""What is named as the engine of a block that was written as it is, not denoised."""

Reason = Literal[
    "exception",
    "crash",
    "memory",
    "timeout",
    "walltime",
    "lost",
    "damaged",
    "outdated",
]
"""Why a block failed: its code raised; its process died of a signal, or for want of
memory; it took too long, or longer than its worker's job; its worker vanished; its
output was found damaged later, or that of a block which it read."""


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
    engine: str | None = None
    """What computed it there, in words, of a block of the denoising."""
    peak_mib: int = 0
    """Most memory that the worker has held so far."""
    host: str = field(default_factory=platform.node)
    time: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    reason: Reason | None = None
    error: str | None = None
    where: str | None = None
    """File, line and function of the user's own code in which it came up."""
    traceback: str | None = None
    traceback_file: str | None = None
    """Where the last traceback of the block is kept, as a path from the logs."""


class LedgerWriter:
    """Appends lines to files of its own, one after the other."""

    def __init__(
        self, folder: Path, run_id: str, worker: str, *, durable: bool
    ) -> None:
        """`run_id` is that of the run in whose name the lines are written."""
        self._folder = folder
        self._run_id = run_id
        self._worker = worker
        self._durable = durable
        self._path, self._fd = persistently(self._new_file)

    def append(self, entry: Entry) -> None:
        """Write a line, whole or not at all; on return it is on disk."""
        values = {k: v for k, v in asdict(entry).items() if v is not None}
        values["run"] = self._run_id
        line = to_json(values) + b"\n"
        persistently(lambda: self._append(line))
        while not persistently(self._is_in_place):
            # A new start has put the file together with others, maybe without the line.
            self.close()
            persistently(lambda: self._append(line))

    def sync(self) -> None:
        """Make durable what was appended."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Release the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _append(self, line: bytes) -> None:
        """To a file that holds whole lines; where it may not, another is begun."""
        if self._fd < 0:
            self._path, self._fd = self._new_file()
        size = -1
        try:
            size = os.fstat(self._fd).st_size
            written = 0
            while written < len(line):
                written += os.write(self._fd, line[written:])
            if self._durable:
                os.fsync(self._fd)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, size)
            with suppress(OSError):
                self.close()
            raise

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            return False

    def _new_file(self) -> tuple[Path, int]:
        """Open a file that nobody else writes to; a number if its name is taken."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        for number in itertools.count():
            name = f"{self._worker}.{number}" if number else self._worker
            path = self._folder / f"{name}.jsonl"
            with suppress(FileExistsError):
                fd = os.open(path, flags, 0o644)
                break
        if self._durable:
            sync(self._folder)
        return path, fd


class LostLinesError(Exception):
    """Lines that were read are not there any more."""


class LedgerReader:
    """Reads the lines of one run, as they come."""

    def __init__(self, folder: Path, run_id: str) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._run_id = run_id
        self._read_to: dict[str, int] = {}
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
        for file, _, text in self.new_text():
            yield file, self._own(file, text.split(b"\n")[:-1])

    def new_text(self, *, all_stay: bool = False) -> Iterator[tuple[str, int, bytes]]:
        """The same as text, whosever it is: files, where in them, and whole lines.

        Raises
        ------
        LostLinesError
            As `new` does; with `all_stay` also where a file that was read is gone.
        """
        sizes = list(self._sizes())
        if any(size < self._read_to.get(file.name, 0) for file, size in sizes):
            raise LostLinesError
        if all_stay and self._read_to.keys() - {file.name for file, _ in sizes}:
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
        """All files and how long they are, as others have written them.

        Each is opened: only then do some network file systems ask their server.
        """
        try:
            entries = list(os.scandir(self._folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.name.endswith(".jsonl") and entry.is_file():
                with suppress(FileNotFoundError), Path(entry).open("rb") as file:
                    yield Path(entry), os.fstat(file.fileno()).st_size

    def _read(self, file: Path) -> Iterator[tuple[str, int, bytes]]:
        start = self._read_to.get(file.name, 0)
        with file.open("rb") as stream:
            stream.seek(start)
            rest = b""
            while data := stream.read(READ_BYTES):
                lines, newline, rest = (rest + data).rpartition(b"\n")
                begin, start = start, start + len(lines) + len(newline)
                self._read_to[file.name] = start
                yield file.name, begin, lines + newline
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
