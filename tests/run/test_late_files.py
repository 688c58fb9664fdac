"""Files that other hosts have written show late, as on NFS, and nothing is done twice.

The lists of the ledgers' files, and what they tell, are believed for six seconds, by
the scheduler and each worker; see `late` in `harness.faulty`.
"""

from pathlib import Path

import pytest

from harness import SHORT_WAITS, cli
from harness.chains import TASKS, Chain

LATE = 6


@pytest.mark.parametrize("tasks", [[], TASKS], ids=["denoising", "chain"])
def test_a_run_whose_ledgers_show_late_ends_as_any_other(
    tasks: list[dict[str, object]], tmp_path: Path, finished_chain: Chain
) -> None:
    chain = Chain(tmp_path, tasks=tasks)
    faults = {"engine": "median", "late": LATE}
    env = SHORT_WAITS | chain.hook.env(faults)
    end = cli("run", chain.path, env=env, timeout=240)
    assert end.returncode == 0, end.stderr
    log = (chain.run_dir / "logs" / "scheduler.log").read_text()
    # Daisy takes a worker for lost that connects from a port which another one had.
    assert "block lost" not in log
    assert "ended early" not in log
    assert "ahead of the ledger" not in log
    stages = [folder.name for folder in (chain.run_dir / "ledger").iterdir()]
    assert len(stages) >= 1 + len(tasks)
    for stage in stages:
        done = chain.done(stage)
        assert len(done) == len(set(done)) > 0
    assert chain.verify().returncode == 0
    if tasks:
        assert chain.contents() == finished_chain.contents()
