"""Lines are written whole or not at all, by however many writers, on whatever disk."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from funlib.geometry import Coordinate, Roi

from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import LedgerWriter
from harness import ROOT
from harness.ledgers import (
    BLOCKS,
    GRID,
    RUN,
    UNIT,
    done_crcs,
    done_in,
    entry,
    fill,
    ledger_of,
    line,
)


def test_many_processes_write_at_once_and_no_line_is_lost(tmp_path: Path) -> None:
    """All under one name, each in a file of its own."""
    script = f"""
import sys
from pathlib import Path
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter

first = int(sys.argv[1])
writer = LedgerWriter(Path({str(tmp_path)!r}), {RUN!r}, "same", durable=False)
for i in range(first, 72, 4):
    block = (i // 24, i // 8 % 3, i // 2 % 4, i % 2)
    writer.append(
        Entry(block, {tuple(GRID.block_shape)!r}, "done", 1, f"w{{first}}", crc=i)
    )
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(i)]) for i in range(4)
    ]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(list(tmp_path.iterdir())) == 4
    ledger = ledger_of(tmp_path)
    assert [crc for _, _, crc in done_crcs(ledger)] == list(range(72))
    assert not ledger.unreadable


def test_writers_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    def write(i: int) -> None:
        writer = LedgerWriter(tmp_path, RUN, "worker", durable=False)
        writer.append(entry(BLOCKS[i]))
        writer.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(30)))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 30
    assert {file.read_bytes().count(b"\n") for file in files} == {1}
    assert done_in(ledger_of(tmp_path)) == set(BLOCKS[:30])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount on this system; the next test has a file size limit")
    if mounted.returncode:
        pytest.skip("mount needs root; the next test has a file size limit instead")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_a_line_is_written_whole_or_not_at_all(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40_000))
    error, written = fill(small_disk)
    assert error.errno == errno.ENOSPC
    data = (small_disk / "w.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert data.count(b"\n") == written > 5
    ballast.unlink()
    writer = LedgerWriter(small_disk, RUN, "w", durable=True)
    writer.append(entry(BLOCKS[0]))
    writer.close()
    ledger = ledger_of(small_disk)
    assert not ledger.unreadable
    assert done_in(ledger) == {BLOCKS[0]}


def test_at_a_limit_a_line_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """The limit on a file's size cuts a line in two, wherever it lies."""
    script = f"""
import resource, sys
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT / "scripts")!r}]
from pathlib import Path
from harness.ledgers import fill

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
error, written = fill(Path(sys.argv[2]))
print(error.errno, written)
"""
    for limit in (5000, 5433):
        folder = tmp_path / str(limit)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script, str(limit), str(folder)],
            capture_output=True,
            text=True,
            check=True,
        )
        code, written = map(int, done.stdout.split())
        assert code == errno.EFBIG
        data = (folder / "w.jsonl").read_bytes()
        assert limit - 1500 < len(data) <= limit
        assert data.endswith(b"\n")
        assert data.count(b"\n") == written > 2
        assert not ledger_of(folder).unreadable


def test_fifty_thousand_lines_are_all_counted(tmp_path: Path) -> None:
    image = Roi((0, 0, 0, 0), (10, 100, 400, 400))
    grid = replace(
        GRID, readable_roi=image, volume=image, block_shape=Coordinate(1, 2, 4, 400)
    )
    count = 50_000
    blocks = [index for index, _ in zip(grid.indices(), range(count), strict=False)]
    shape = tuple(grid.block_shape)
    text = line((0, 0, 0, 0), shape=shape).decode()
    with (tmp_path / "a.jsonl").open("w") as stream:
        stream.writelines(text.replace("[0, 0, 0, 0]", str(list(b))) for b in blocks)
    ledger = Ledger(tmp_path, RUN, grid, UNIT)
    ledger.refresh()
    assert ledger.done_count == count == grid.size
