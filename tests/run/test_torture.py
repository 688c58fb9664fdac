"""Random kills and errors lose nothing, in short; CI and people run it for long.

`scripts/torture` compares all bytes with an uninterrupted run's and counts executions.
A torture that hit nothing would pass: the kills are counted, and some must have cost
a block in flight or a start.  These seeds begin with the chain of tasks, which must
have been hit while its tasks were at work; that is chance, so they are played until it
was.
"""

import re
import shutil
import subprocess
import sys

import pytest

from harness import ROOT, environment

SEEDS = ("1", "3", "6", "7", "10")


def tortured(seed: str) -> str:
    """What a torture says that has found nothing wrong."""
    end = subprocess.run(
        [sys.executable, ROOT / "scripts" / "torture.py", seed, "8"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    assert len(re.findall(r"^kill \d+: SIG", end.stdout, re.MULTILINE)) >= 4
    counts = re.search(r"in (\d+) rounds and (\d+) starts", end.stdout)
    assert counts
    rounds, starts = map(int, counts.groups())
    assert starts > rounds
    assert "Nothing wrong" in end.stdout
    return end.stdout


def has_hit_tasks(said: str) -> bool:
    """Whether the chain was hit after its denoising of 4 blocks and before its end."""
    chain = r"; (\d+) of (\d+) blocks of 'a chain of tasks' done"
    done = [tuple(map(int, found)) for found in re.findall(chain, said)]
    return any(4 < some < every for some, every in done)


@pytest.mark.timeout(1800)
def test_a_short_torture_finds_nothing_wrong() -> None:
    assert any(has_hit_tasks(tortured(seed)) for seed in SEEDS)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")
def test_a_short_torture_of_files_finds_nothing_wrong() -> None:
    """A chain with errors in its workers, and in its scheduler as well."""
    end = subprocess.run(
        [sys.executable, ROOT / "scripts" / "torture_io.py", "427", "2"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    hit = re.findall(r"chain of tasks', (\w+) .*: (\d+) errors", end.stdout)
    assert [who for who, _ in hit] == ["workers", "both"]
    assert all(int(errors) > 0 for _, errors in hit), end.stdout
    assert "nothing wrong" in end.stdout
