"""Lines of a ledger as rows of a table, a million of them in seconds."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
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


class _Line(msgspec.Struct, gc=False):
    """What counts of a line; see `Entry` for the fields."""

    block: _Four
    shape: _Four
    status: str
    epoch: _Whole
    run: str
    worker: str
    crc: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] = 0
    seconds: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    clipped: Annotated[int, msgspec.Meta(ge=0, le=MUCH)] = 0
    engine: str = ""
    peak_mib: _Whole = 0
    host: str = ""
    time: str = ""
    reason: str = ""


FIELDS = _Line.__struct_fields__


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
        decoder = msgspec.json.Decoder(_Line)
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines
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

    def rows(self, text: bytes) -> tuple[np.ndarray, np.ndarray, bool]:
        """The lines that make sense and are this run's, as rows; of whole lines.

        Their checksums, and whether that is all of them.  Offsets are in the text.
        """
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
        begins = np.concatenate([[0], ends])[:-1]
        columns: dict[str, list[Any]] = {name: [] for name in FIELDS}
        known = [np.empty(0, bool)]
        for first in range(0, len(ends), AT_ONCE):
            last = min(first + AT_ONCE, len(ends)) - 1
            lines = text[begins[first] : ends[last]]
            told, which = self._told(lines, last + 1 - first)
            known.append(which)
            told["block"] = chain.from_iterable(told["block"])
            told["shape"] = self.shapes.of(told["shape"]).tolist()
            for name, column in columns.items():
                column.extend(told[name])
        offsets = begins[np.concatenate(known)]
        rows = self._rows(columns, offsets)
        return rows, np.array(columns["crc"], np.int64), len(rows) == len(ends)

    def _rows(self, columns: dict[str, list[Any]], offsets: np.ndarray) -> np.ndarray:
        rows = np.zeros(len(offsets), ROW)
        rows["offset"] = offsets
        rows["block"] = np.array(columns["block"], np.int32).reshape(-1, 4)
        for name in ("shape", *AS_TOLD):
            rows[name] = columns[name]
        rows["is_done"] = [status == "done" for status in columns["status"]]
        rows["ended"] = _unix_seconds(columns["time"])
        rows["worker"] = self.workers.of(columns["worker"])
        rows["host"] = self.hosts.of(columns["host"])
        rows["engine"] = self.engines.of(columns["engine"])
        rows["reason"] = self.reasons.of(columns["reason"])
        return rows

    def _told(
        self, text: bytes, count: int
    ) -> tuple[dict[str, Iterable[Any]], np.ndarray]:
        """What those of so many lines tell that count, by field; and which they are."""
        with suppress(ValueError):
            told = _by_field(self._decode_lines(text))
            if told["run"] == (self._run_id,) * count:
                return told, np.ones(count, bool)
        lines = [self._line(line) for line in text.split(b"\n")[:-1]]
        which = np.array([line is not None for line in lines])
        return _by_field(filter(None, lines)), which

    def _line(self, text: bytes) -> _Line | None:
        """A line, if it counts."""
        try:
            line: _Line | None = self._decode(text)
        except ValueError:
            line = _unusual(text)
        return line if line and line.run == self._run_id else None


def _by_field(lines: Iterable[_Line]) -> dict[str, Iterable[Any]]:
    """What lines tell, of each field by itself."""
    columns = zip(*map(msgspec.structs.astuple, lines), strict=True)
    return dict.fromkeys(FIELDS, ()) | dict(zip(FIELDS, columns, strict=False))


def _unusual(text: bytes) -> _Line | None:
    """A line that has values of other kinds; None where it makes no sense.

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
    for name in FIELDS:
        if name in told and name not in needed:
            with suppress(ValueError):
                one = msgspec.convert(needed | {name: told[name]}, _Line)
                setattr(line, name, getattr(one, name))
    return line


def _unix_seconds(times: Sequence[str]) -> np.ndarray:
    """Seconds since 1970 of ISO times, 0 for what is none."""
    with suppress(ValueError):
        # One character more than there should be, so that none is cut off unseen.
        texts = np.array(times, "S21").view(np.uint8).reshape(-1, 21)
        if (texts[:, 19:] == (ord("Z"), 0)).all():
            words = texts[:, :19].copy().view("S19")[:, 0]
            return words.astype("datetime64[s]").astype(np.int64)
    return np.array([_unix_second(time) for time in times], np.int64)


def _unix_second(time: str) -> int:
    with suppress(ValueError):
        moment = datetime.fromisoformat(time)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    return 0
