"""Many files of a ledger become one, and no line is lost, whoever writes or dies."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.run_dir.compaction import compact
from denoise_daisy.run_dir.ledger_lines import LedgerWriter
from harness.ledgers import BLOCKS, RUN, done_in, entry, ledger_of


@pytest.fixture
def fifty(tmp_path: Path) -> Path:
    """A ledger of fifty workers, one block each."""
    for number in range(50):
        writer = LedgerWriter(tmp_path, RUN, f"w{number}", durable=False)
        writer.append(entry(BLOCKS[number]))
        writer.close()
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fifty_files_become_one_with_all_their_lines(fifty: Path) -> None:
    lines = b"".join((fifty / name).read_bytes() for name in files(fifty))
    assert compact(fifty) is True
    (name,) = files(fifty)
    assert sorted((fifty / name).read_bytes().splitlines()) == sorted(
        lines.splitlines()
    )
    assert done_in(ledger_of(fifty)) == set(BLOCKS[:50])


def test_a_few_files_are_left_alone(fifty: Path) -> None:
    (fifty / "w49.jsonl").unlink()
    before = files(fifty)
    assert compact(fifty) is False
    assert files(fifty) == before


def test_what_was_put_together_stays_as_it_is(fifty: Path) -> None:
    compact(fifty)
    (name,) = files(fifty)
    for number in range(49):
        (fifty / f"new{number}.jsonl").touch()
    assert compact(fifty) is False
    (fifty / "new49.jsonl").write_bytes(b'{"torn": ')
    assert compact(fifty) is True
    assert name in files(fifty)
    assert len(files(fifty)) == 2
    # A torn line is no line, nor does it spoil another.
    assert not ledger_of(fifty).unreadable
    assert done_in(ledger_of(fifty)) == set(BLOCKS[:50])


def test_what_is_no_file_of_a_writer_is_left_alone(fifty: Path) -> None:
    (fifty / "folder.jsonl").mkdir()
    (fifty / "notes.txt").touch()
    compact(fifty)
    assert [name for name in files(fifty) if not name.startswith("all-")] == [
        "folder.jsonl",
        "notes.txt",
    ]


def test_a_writer_at_work_writes_its_line_again(fifty: Path) -> None:
    """Of an earlier start, that ends its last block while the next one begins."""
    writer = LedgerWriter(fifty, RUN, "late", durable=False)
    writer.append(entry(BLOCKS[50]))
    compact(fifty)
    for block in BLOCKS[51:53]:
        writer.append(entry(block))
    writer.close()
    assert done_in(ledger_of(fifty)) == set(BLOCKS[:53])
    assert (fifty / "late.jsonl").read_bytes().count(b"\n") == 2


def test_a_line_written_while_files_are_put_together_is_not_lost(
    fifty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step in turn."""
    calls = {"rename": 50, "fsync": 2, "unlink": 50}
    writer = LedgerWriter(fifty, RUN, "late", durable=False)
    for name, count in calls.items():
        for at in (1, count // 2, count):
            act_at(monkeypatch, name, at, lambda: writer.append(entry(BLOCKS[60])))
            compact(fifty)
            monkeypatch.undo()
            assert BLOCKS[60] in done_in(ledger_of(fifty))
            assert set(BLOCKS[:50]) <= done_in(ledger_of(fifty))
            fill_up(fifty)
    writer.close()


@pytest.mark.parametrize("name", ["rename", "fsync", "replace", "unlink"])
@pytest.mark.parametrize("at", [1, 2, 25])
def test_a_death_at_any_step_loses_no_line(
    name: str, at: int, fifty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DeadError(Exception):
        """The process was killed there."""

    def die() -> None:
        raise DeadError

    act_at(monkeypatch, name, at, die)
    if name in ("rename", "unlink") or at == 1 or (name, at) == ("fsync", 2):
        with pytest.raises(DeadError):
            compact(fifty)
    monkeypatch.undo()
    assert done_in(ledger_of(fifty)) == set(BLOCKS[:50])
    fill_up(fifty)
    compact(fifty)
    assert done_in(ledger_of(fifty)) == set(BLOCKS[:50])


def fill_up(folder: Path) -> None:
    """As many empty files again."""
    for number in range(50):
        (folder / f"more{number}.jsonl").touch()


def act_at(
    monkeypatch: pytest.MonkeyPatch, name: str, at: int, act: Callable[[], None]
) -> None:
    """Do something right before that call of a function of `os`."""
    plain, count = getattr(os, name), [0]

    def call(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == at:
            act()
        return plain(*arguments, **options)

    monkeypatch.setattr(os, name, call)
