"""What lets a client in at Daisy's server is in no file that others can read."""

import json
import stat

from harness import wait_until
from harness.trials import Trial
from harness.waiting import PATIENCE


def test_only_the_owner_can_read_the_run_id_of_a_connection(trial: Trial) -> None:
    """Daisy's server and clients tell it; the ledger has the end of a client's log."""
    trial.change(workers={"block_timeout_minutes": 0.1, "max_retries": 0})
    (trial.run_dir / "logs").mkdir(parents=True)
    (trial.run_dir / "logs" / "scheduler.log").touch(0o644)  # of an earlier version
    connection = trial.run_dir / "connection.json"
    with trial.running(fail={"3": "timeout", "5": "lost"}) as scheduler:
        wait_until(connection.exists, "the server listens")
        run_id = json.loads(connection.read_text())["run_id"]
        scheduler.communicate(timeout=PATIENCE)
    files = [path for path in trial.folder.rglob("*") if path.is_file()]
    holders = [path for path in files if run_id.encode() in path.read_bytes()]
    log = trial.run_dir / "logs" / "scheduler.log"
    assert log in holders
    assert len(holders) > 1
    for path in holders:
        assert path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) == 0, path
    told = "daisy worker: block denoise/"
    assert any(told in line.get("traceback", "") for line in trial.lines("failed"))
