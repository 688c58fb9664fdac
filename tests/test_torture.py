"""Random kills at random times lose nothing, in short; CI and people run it for long.

`scripts/torture` compares all bytes with an uninterrupted run's and counts executions.
A torture that hit nothing would pass: the kills are counted, and some must have cost
a block in flight or a start.  This seed begins with the chain of tasks, which must have
been hit while its tasks were at work.
"""

import re
import subprocess
import sys

from support import ROOT


def test_a_short_torture_finds_nothing_wrong() -> None:
    end = subprocess.run(
        [sys.executable, ROOT / "scripts" / "torture.py", "1", "8"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    assert len(re.findall(r"^kill \d+: SIG", end.stdout, re.MULTILINE)) >= 4
    counts = re.search(r"in (\d+) rounds and (\d+) starts", end.stdout)
    assert counts
    chain = r"; (\d+) of (\d+) blocks of 'a chain of tasks' done"
    done = [tuple(map(int, found)) for found in re.findall(chain, end.stdout)]
    assert any(4 < some < every for some, every in done), "the denoising has 4"
    rounds, starts = map(int, counts.groups())
    assert starts > rounds
    assert "Nothing wrong" in end.stdout
