"""The table of a ledger has exactly the lines that count, and all that they tell.

What counts is worked out here from the text of the lines, one at a time and by Python's
own JSON; and what is done must be what the scheduler's ledger says.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.run_dir.compaction import MANY_FILES, compact
from denoise_daisy.run_dir.ledger_lines import LedgerWriter
from denoise_daisy.run_dir.ledger_rows import AT_ONCE, ROW
from denoise_daisy.run_dir.ledger_table import LedgerTable, repeated
from harness.ledgers import BLOCKS, GRID, RUN, UNIT, entry, grid_of, ledger_of
from harness.properties import examples

SHAPES = ((1, 2, 4, 8), (1, 2, 4, 4), (1, 6, 14, 16))
"""Of blocks: that of now, and two of earlier starts."""


def table_of(folder: Path) -> LedgerTable:
    table = LedgerTable(folder, RUN, GRID, UNIT)
    table.refresh()
    return table


def lines_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The lines that count, and the names of their files."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        for text in file.read_bytes().split(b"\n")[:-1]:
            try:
                line = json.loads(text)
                if line["run"] != RUN or len(line["block"]) != 4:
                    continue
                counts = grid_of(tuple(line["shape"])).shape
                pairs = zip(line["block"], counts, strict=True)
                if all(0 <= i < n for i, n in pairs) and line["epoch"] < 1 << 30:
                    found.append((file.name, line))
            except (ValueError, KeyError, TypeError, ZeroDivisionError):
                continue
    return found


def told(table: LedgerTable) -> list[tuple[Any, ...]]:
    """The rows of a table in words."""
    return sorted(
        (
            tuple(row["block"].tolist()),
            table.names.shapes[row["shape"]],
            bool(row["is_done"]),
            int(row["epoch"]),
            table.names.workers[row["worker"]],
            table.names.hosts[row["host"]],
            table.names.engines[row["engine"]],
            table.names.reasons[row["reason"]],
            round(float(row["seconds"]), 2),
            int(row["clipped"]),
            int(row["peak_mib"]),
            str(np.datetime64(int(row["ended"]), "s")) + "Z",
        )
        for row in table.rows
    )


def expected(folder: Path) -> list[tuple[Any, ...]]:
    return sorted(
        (
            tuple(line["block"]),
            tuple(line["shape"]),
            line["status"] == "done",
            line["epoch"],
            line["worker"],
            line["host"],
            line.get("engine") or "",
            line.get("reason") or "",
            round(line.get("seconds", 0), 2),
            line.get("clipped", 0),
            line.get("peak_mib", 0),
            line["time"],
        )
        for _, line in lines_of(folder)
    )


def times() -> st.SearchStrategy[str]:
    seconds = st.integers(1_600_000_000, 2_000_000_000)
    return seconds.map(lambda s: f"{np.datetime64(s, 's')}Z")


@st.composite
def line(draw: st.DrawFn) -> dict[str, Any]:
    """What a line may say that a worker has written, of this run or another."""
    shape = draw(st.sampled_from(SHAPES))
    counts = grid_of(shape).shape
    # Now and then a block that is not there.
    block = [draw(st.integers(0, n if draw(st.booleans()) else n - 1)) for n in counts]
    values = {
        "block": block,
        "shape": list(shape),
        "status": draw(st.sampled_from(["done", "failed"])),
        "epoch": draw(st.integers(0, 4)),
        "worker": draw(st.sampled_from(["a", "b\u00fc", "verify"])),
        "host": draw(st.sampled_from(["n1", "n2", "\u65e5\u672c"])),
        "time": draw(times()),
        "run": draw(st.sampled_from([RUN, RUN, RUN, "another"])),
        "seconds": draw(st.integers(0, 99) | st.integers(0, 999).map(lambda n: n / 8)),
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "crc": st.integers(0, 2**32 - 1),
        "chunks": st.just("AAAA"),
        "clipped": st.integers(0, 2**40),
        "engine": st.sampled_from(["none", "in C"]),
        "peak_mib": st.integers(0, 1 << 20),
        "reason": st.sampled_from(["exception", "lost"]),
        "error": st.text(max_size=5),
        "traceback": st.just('File "x"\n\u00e9'),
        "of_a_later_version": st.integers(),
    }
    names = draw(st.sets(st.sampled_from(sorted(optional))))
    return values | {name: draw(optional[name]) for name in sorted(names)}


BROKEN = (
    b"",
    b"\0\0\0\0",
    b"{",
    b"[1, 2]",
    b"7",
    b'{"run": "%s"}' % RUN.encode(),
    b'{"block":[0,0,0],"shape":[1,2,4,8],"status":"done","epoch":1,"run":"%s"}'
    % RUN.encode(),
    b'{"block":[0,0,0,0],"shape":[1,2,4],"status":"done","epoch":1,"run":"%s"}'
    % RUN.encode(),
    b'{"block":[0,0,0,0],"shape":[1,2,4,0],"status":"done","epoch":1,"run":"%s"}'
    % RUN.encode(),
    b'{"block":[0,0,0,-1],"shape":[1,2,4,8],"status":"done","epoch":1,"run":"%s"}'
    % RUN.encode(),
    b'{"run": "%s"}{"run": "%s"}' % (RUN.encode(), RUN.encode()),
    b'{"block":[0,0,0,"0"],"shape":[1,2,4,8],"status":"done","epoch":1,"run":"%s"}'
    % RUN.encode(),
)


@examples(150)
@given(st.data())
def test_a_table_has_all_lines_that_count_and_no_other(data: st.DataObject) -> None:
    """Read at once, or file after file as they grow, torn lines included."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        growing = LedgerTable(folder, RUN, GRID, UNIT)
        for _ in range(data.draw(st.integers(1, 4))):
            file = folder / f"{data.draw(st.sampled_from('abc'))}.jsonl"
            texts = [
                json.dumps(values, ensure_ascii=data.draw(st.booleans())).encode()
                for values in data.draw(st.lists(line(), max_size=8))
            ]
            broken = data.draw(st.lists(st.sampled_from(BROKEN), max_size=2))
            texts = data.draw(st.permutations([*texts, *broken]))
            with file.open("ab") as stream:
                stream.write(b"".join(text + b"\n" for text in texts))
                stream.write(data.draw(st.sampled_from([b"", b"", b'{"block":[0,'])))
            growing.refresh()
        ledger, table = ledger_of(folder), table_of(folder)
        assert told(table) == told(growing) == expected(folder)
        assert np.array_equal(table.done, ledger.done)
        assert np.array_equal(growing.done, ledger.done)
        failed = {int(i) for i in np.flatnonzero(table.failed)}
        assert failed == {GRID.flat(index) for index in ledger.last_failed()}
        assert table.engines_of_done() == ledger.engines()
        assert sorted(table.unreadable) == sorted(ledger.unreadable)


@examples(50)
@given(st.lists(line(), max_size=30))
def test_what_stands_is_a_row_for_each_block_that_is_done_and_not_replaced(
    values: list[dict[str, Any]],
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        text = "".join(json.dumps(one) + "\n" for one in values)
        (folder / "a.jsonl").write_text(text)
        table = table_of(folder)
        there = [
            (tuple(grid.block_shape), tuple(map(int, np.unravel_index(i, grid.shape))))
            for grid, flat, _ in ledger_of(folder).done_blocks()
            for i in flat
        ]
        rows = table.rows[table.standing()]
        assert sorted(there) == sorted(
            (table.names.shapes[row["shape"]], tuple(row["block"].tolist()))
            for row in rows
        )
        lines = [one for _, one in lines_of(folder) if one["status"] == "done"]
        for row in rows:
            shape, block = table.names.shapes[row["shape"]], row["block"].tolist()
            own = [
                i for i in lines if (i["block"], tuple(i["shape"])) == (block, shape)
            ]
            assert row["epoch"] == max(one["epoch"] for one in own)


def test_a_row_leads_to_the_words_of_its_line(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path, RUN, "w", durable=False)
    for number, block in enumerate(BLOCKS[:9]):
        writer.append(entry(block, status="failed", error=f"mishap {number}"))
    writer.close()
    table = table_of(tmp_path)
    words = {tuple(r["block"].tolist()): table.line(r)["error"] for r in table.rows}
    assert words == {block: f"mishap {n}" for n, block in enumerate(BLOCKS[:9])}
    (tmp_path / "w.jsonl").unlink()
    assert table.line(table.rows[0]) == {}


def test_lines_that_were_put_together_count_once(tmp_path: Path) -> None:
    """Also where a compaction was cut short, so that some stand in two files."""
    for number in range(MANY_FILES):
        writer = LedgerWriter(tmp_path, RUN, f"w{number}", durable=False)
        writer.append(entry(BLOCKS[number % len(BLOCKS)], seconds=number))
        writer.close()
    table = table_of(tmp_path)
    assert len(table.rows) == MANY_FILES
    copy = (tmp_path / "w3.jsonl").read_bytes()
    assert compact(tmp_path)
    table.refresh()
    assert len(table.rows) == MANY_FILES
    (tmp_path / "w3.left.jsonl").write_bytes(copy)
    table.refresh()
    assert len(table.rows) == len(table_of(tmp_path).rows) == MANY_FILES
    assert sorted(table.rows["seconds"]) == list(range(MANY_FILES))


def test_a_line_that_its_writer_took_back_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "w.jsonl"
    writer = LedgerWriter(tmp_path, RUN, "w", durable=False)
    writer.append(entry(BLOCKS[0]))
    whole = file.stat().st_size
    writer.append(entry(BLOCKS[1]))
    writer.close()
    table = table_of(tmp_path)
    assert table.done.sum() == 2
    with file.open("r+b") as stream:
        stream.truncate(whole)
    table.refresh()
    assert np.flatnonzero(table.done).tolist() == [0]
    assert len(table.rows) == 1


def test_each_of_many_lines_is_found_where_it_stands(tmp_path: Path) -> None:
    """They are read some at a time, with lines among them that do not count."""
    writer = LedgerWriter(tmp_path, RUN, "w", durable=False)
    other = LedgerWriter(tmp_path, "another", "o", durable=False)
    numbers = range(4 * AT_ONCE + 3)
    for number in numbers:
        block = BLOCKS[number % len(BLOCKS)]
        told = entry(block, status="failed", seconds=number, error=str(number))
        writer.append(told)
        other.append(told)
    strange = (tmp_path / "o.jsonl").read_bytes().split(b"\n")[:-1]
    (tmp_path / "o.jsonl").unlink()
    lines = (tmp_path / "w.jsonl").read_bytes().split(b"\n")[:-1]
    for number in (0, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 7):
        lines[number] = strange[number]
    (tmp_path / "w.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    table = table_of(tmp_path)
    assert sorted({*numbers} - {*table.rows["seconds"].astype(int)}) == [
        *(0, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 7)
    ]
    for row in table.rows:
        assert table.line(row)["error"] == str(int(row["seconds"]))


def test_times_of_other_zones_are_moments(tmp_path: Path) -> None:
    good: dict[str, Any] = {"block": [0, 0, 0, 0], "shape": [1, 2, 4, 8]}
    good |= {"status": "done", "epoch": 1, "run": RUN, "worker": "w", "host": "h"}
    times = ("2026-01-02T03:04:05+01:00", "2026-01-02T03:04:05")
    lines = [json.dumps(good | {"time": time}) + "\n" for time in times]
    (tmp_path / "w.jsonl").write_text("".join(lines))
    rows = table_of(tmp_path).rows
    assert rows["ended"].tolist() == [1767319445, 1767323045]


TIMES_OF_NONE = (
    *("yesterday", "", "2026-02-30T00:00:00Z", None, 5),
    *("2026-01-02T03:04:05Zulu", "2026-01-02T03:04:0\uff15Z"),
)


@pytest.mark.parametrize("time", TIMES_OF_NONE)
def test_a_time_that_is_none_is_said_to_be_unknown(tmp_path: Path, time: Any) -> None:
    good = json.loads(json.dumps({"block": [0, 0, 0, 0], "shape": [1, 2, 4, 8]}))
    good |= {"status": "done", "epoch": 1, "run": RUN, "worker": "w", "host": "h"}
    lines = [good | {"time": "2026-01-02T03:04:05Z"}, good | {"time": time}]
    (tmp_path / "w.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    table = table_of(tmp_path)
    assert table.rows["ended"].tolist() == [1767323045, 0]
    assert not table.unreadable


def test_lines_are_compared_only_where_some_may_stand_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer whose file was put together writes its line again, into a new file."""
    looks = []
    drop = LedgerTable._drop_repeated

    def look(table: LedgerTable) -> None:
        looks.append("once more")
        drop(table)

    monkeypatch.setattr(LedgerTable, "_drop_repeated", look)
    for number in range(MANY_FILES):
        LedgerWriter(tmp_path, RUN, f"w{number}", durable=False).append(
            entry(BLOCKS[number % len(BLOCKS)])
        )
    assert compact(tmp_path)
    table = table_of(tmp_path)
    assert len(looks) == 1
    writer = LedgerWriter(tmp_path, RUN, "w", durable=False)
    for block in BLOCKS[:3]:
        writer.append(entry(block))
        table.refresh()
    writer.close()
    assert len(looks) == 2


@examples(100)
@given(st.lists(st.tuples(*[st.integers(0, 1)] * 4), max_size=40))
def test_a_row_is_repeated_where_all_of_it_but_its_place_is(
    drawn: list[tuple[int, ...]],
) -> None:
    rows = np.zeros(len(drawn), ROW)
    for row, (block, worker, half_seconds, epoch) in zip(rows, drawn, strict=True):
        row["block"][2], row["worker"], row["epoch"] = block, worker, epoch
        row["seconds"] = half_seconds / 2
    rows["offset"] = np.arange(len(drawn))
    expected = [one in drawn[:number] for number, one in enumerate(drawn)]
    assert repeated(rows).tolist() == expected
