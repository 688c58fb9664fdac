"""Lines of a ledger as rows of a table, a million of them in seconds."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
from pydantic_core import from_json

from denoise_daisy.run_dir.names import Names

ROW = np.dtype(
    [
        ("block", "i4", 4),  # position in the grid of its shape, (t, z, y, x)
        ("shape", "i4"),  # number of the shape, see `RowNames`
        ("is_done", "?"),  # else an attempt that failed
        ("epoch", "i4"),
        ("seconds", "f4"),  # all of it, and three parts of that
        ("read_seconds", "f4"),
        ("compute_seconds", "f4"),
        ("write_seconds", "f4"),
        ("ended", "i8"),  # in seconds since 1970; 0 where the line does not tell
        ("worker", "i4"),  # numbers of names
        ("host", "i4"),
        ("engine", "i4"),  # 0: none is named
        ("reason", "i4"),  # why it failed; 0: it has not
        ("peak_mib", "i4"),
        ("clipped", "i8"),
        ("file", "i4"),  # where the line itself is, see `LedgerTable.line`
        ("offset", "i8"),
    ]
)
"""A line without its checksums and words."""

MOST = (1 << 31) - 1
"""What the columns of four bytes hold."""

MUCH = (1 << 62) - 1

AT_ONCE = 250
"""Lines that are in memory as objects: few come and go at no cost to Python's garbage
collector, which looks at many again and again."""

AS_TOLD = (
    *("epoch", "peak_mib", "clipped"),
    *("seconds", "read_seconds", "compute_seconds", "write_seconds"),
)
"""Columns whose numbers stand in the line."""

_Whole = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
_Four = tuple[_Whole, _Whole, _Whole, _Whole]


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A line of this version; see `Entry` for the fields."""

    block: _Four
    shape: _Four
    status: str
    epoch: _Whole
    worker: str
    run: str
    crc: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] | None = None
    chunks: str | None = None
    seconds: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    clipped: Annotated[int, msgspec.Meta(ge=0, le=MUCH)] = 0
    engine: str | None = None
    peak_mib: _Whole = 0
    host: str = ""
    time: str = ""
    reason: str | None = None
    error: str | None = None
    where: str | None = None
    traceback: str | None = None
    traceback_file: str | None = None


@dataclass(frozen=True, slots=True)
class RowNames:
    """What the numbers in rows stand for, by number."""

    shapes: list[tuple[int, ...]]
    """Of blocks, in voxels of ``(t, z, y, x)``; the first is that of blocks now."""
    workers: list[str]
    hosts: list[str]
    engines: list[str]
    """What computed, in words; the first is none."""
    reasons: list[str]
    """Why blocks failed; the first is none."""


class RowReader:
    """Makes rows of the lines of a run, and numbers of the names in them."""

    def __init__(
        self, run_id: str, shape: tuple[int, ...], engines: Names[str]
    ) -> None:
        """`shape` is that of blocks now, which gets the number 0."""
        self._run_id = run_id
        self._decode = msgspec.json.Decoder(_Line).decode
        self.shapes = Names([shape])
        self.workers = Names[str]()
        self.hosts = Names[str]()
        self.engines = engines
        self.reasons = Names([""])

    def names(self) -> RowNames:
        """What the numbers in its rows stand for."""
        return RowNames(
            list(self.shapes),
            list(self.workers),
            list(self.hosts),
            list(self.engines),
            list(self.reasons),
        )

    def rows(self, texts: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The lines that make sense and are this run's, as rows.

        Their checksums, and which lines they are.
        """
        starts = range(0, max(1, len(texts)), AT_ONCE)
        parts = [self._some_rows(texts[i : i + AT_ONCE]) for i in starts]
        rows, crcs, known = map(np.concatenate, zip(*parts, strict=True))
        return rows, crcs, known

    def _some_rows(
        self, texts: list[bytes]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lines, known = self._decoded(texts)
        rows, crcs = np.zeros(len(lines), ROW), np.zeros(len(lines), np.int64)
        if lines:
            columns = zip(*map(msgspec.structs.astuple, lines), strict=True)
            told = dict(zip(_Line.__struct_fields__, columns, strict=True))
            for name in AS_TOLD:
                rows[name] = told[name]
            numbers = chain.from_iterable(told["block"])
            rows["block"] = np.fromiter(numbers, np.int32).reshape(-1, 4)
            rows["is_done"] = [status == "done" for status in told["status"]]
            rows["ended"] = _unix_seconds(told["time"])
            rows["shape"] = self.shapes.of(told["shape"])
            rows["worker"] = self.workers.of(told["worker"])
            rows["host"] = self.hosts.of(told["host"])
            rows["engine"] = self.engines.of(word or "" for word in told["engine"])
            rows["reason"] = self.reasons.of(word or "" for word in told["reason"])
            crcs[:] = [crc or 0 for crc in told["crc"]]
        return rows, crcs, known

    def _decoded(self, texts: list[bytes]) -> tuple[list[_Line], np.ndarray]:
        """The lines that count, and which they are."""
        decode, run_id = self._decode, self._run_id
        lines, known = [], np.ones(len(texts), bool)
        for number, text in enumerate(texts):
            try:
                line = decode(text)
            except ValueError:
                unusual = _unusual(text)
                if unusual is None:
                    known[number] = False
                    continue
                line = unusual
            if line.run == run_id:
                lines.append(line)
            else:
                known[number] = False
        return lines, known


def _unusual(text: bytes) -> _Line | None:
    """A line that has other fields or values; None where it makes no sense.

    What does not tell of the block may be anything.
    """
    try:
        told: dict[str, Any] = from_json(text)
        needed = {
            "block": told["block"],
            "shape": told["shape"],
            "status": "done" if told["status"] == "done" else "failed",
            "epoch": told["epoch"],
            "crc": told.get("crc") or 0,
            "run": told["run"],
            "worker": str(told.get("worker", "")),
        }
        line = msgspec.convert(needed, _Line)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    for name in _Line.__struct_fields__:
        if name in told and name not in needed:
            with suppress(ValueError):
                one = msgspec.convert(needed | {name: told[name]}, _Line)
                setattr(line, name, getattr(one, name))
    return line


def _unix_seconds(times: Iterable[str]) -> np.ndarray:
    """Seconds since 1970 of ISO times, 0 for what is none."""
    words = [time.removesuffix("Z") for time in times]
    try:
        moments = np.array(words, "datetime64[s]")
    except ValueError:
        moments = np.array([_moment(word) for word in words])
    return np.where(np.isnat(moments), 0, moments.astype(np.int64))


def _moment(word: str) -> np.datetime64:
    try:
        return np.datetime64(word, "s")
    except ValueError:
        return np.datetime64("NaT", "s")
