"""Whatever is done to a chain while it runs: the undisturbed bytes, or an error.

What is done is what reviews found to end in wrong data with a good exit code: a folder
that is away for half a second, a file that can't be found once, what an earlier run has
left, an output that is deleted, a ledger line that can't be made durable after it was
read.  When and where is chosen at random, by seed; `--disturbances N` plays N of them.

Two false greens are ruled out: exit codes other than 0 are followed by the repair that
the message names, and then by the same comparison; and nothing is done before there is
work, and a call that was to fail is checked to have failed, by `struck`.
"""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from harness import wait_until
from harness.chains import Chain, away
from harness.waiting import PATIENCE

KINDS = ("away", "ENOENT", "leftovers", "deleted", "fsync")

EXITS = {
    # What is missed once is tried again, and what a run that is gone has left is set
    # aside: nobody notices.
    "ENOENT": (0,),
    "fsync": (0,),
    "leftovers": (0,),
    # Half a second is waited for; but what is made again in that time, as files of
    # pieces are, loses what was there before; its readers fail, or the run stops.
    "away": (0, 3, 5),
    # Deleted before it is made, it is made as ever; later it is missed.
    "deleted": (0, 5),
}
"""Exit codes by what is done; where there are several, the moment decides."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        count = metafunc.config.getoption("--disturbances")
        metafunc.parametrize("seed", range(count))


@pytest.fixture
def undisturbed(finished_chain: Chain) -> dict[str, bytes]:
    contents = finished_chain.contents()
    assert len(contents) == 8 + 8 + 8 + 8 + 1
    return contents


def test_a_disturbed_chain_has_the_undisturbed_bytes_or_says_so(
    seed: int, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    kind = KINDS[seed % len(KINDS)]
    chain = Chain(tmp_path / "chain")
    fault: dict[str, Any] | None = None
    if kind == "leftovers":
        other = chain.config | {"denoise": {"kind": "median", "size": {"z": 3}}}
        chain.write(other)
        assert chain.run().returncode == 0
        leave_some(chain, chance)
        chain.write(chain.config)
    elif kind == "ENOENT":
        fault = {"who": "worker", "at": "open", "path": "/c/", "error": kind}
        fault["after"] = chance.randrange(30)
    elif kind == "fsync":
        path = f"ledger/{chance.choice(('denoise', 'soft', 'bright', 'cells'))}/"
        fault = {"who": "worker", "at": "fsync", "path": path}
        fault["after"] = chance.randrange(4)
    with chain.running(fault, slow=0.2) as process:
        wait_until(lambda: chain.hook.begun() or process.poll() is not None, "work")
        time.sleep(chance.uniform(0, 3.5))
        if kind == "away":
            places = [chain.output / "0", chain.soft / "0", chain.output, chain.soft]
            labels = [chain.output / "labels" / name for name in ("bright", "cells")]
            away(chance.choice([*places, *labels, chain.run_dir / "tasks"]), 0.5)
        elif kind == "deleted":
            shutil.rmtree(chain.output, ignore_errors=True)
        _, said = process.communicate(timeout=PATIENCE)
    assert chain.struck() == (fault is not None)
    assert process.returncode in EXITS[kind], said
    assert "Traceback (most recent" not in said
    if process.returncode == 0:
        assert chain.contents() == undisturbed, (kind, said)
    repair(chain)
    assert chain.contents() == undisturbed, kind


def leave_some(chain: Chain, chance: random.Random) -> None:
    """Delete the output of another run, all but some of its run directory."""
    shutil.rmtree(chain.output)
    (chain.run_dir / "run.json").unlink()
    shutil.rmtree(chain.soft)
    (chain.folder / "out.cells.csv").unlink()
    for name in chance.sample(("tasks", "logs", "workers"), chance.randrange(3)):
        shutil.rmtree(chain.run_dir / name)


def repair(chain: Chain) -> None:
    """What the messages say: verify and start again, or start over."""
    checked = chain.verify()
    end = chain.run()
    if end.returncode == 4:
        assert "--overwrite" in end.stderr or "move that away" in end.stderr
        end = chain.run("--overwrite")
    assert end.returncode == 0, (checked.stderr, end.stderr)
    assert chain.verify().returncode == 0
