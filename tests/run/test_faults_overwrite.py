"""What `--overwrite` deletes is this program's own, and all of it."""

import shutil
import signal
from collections import Counter

import pytest
import zarr

from harness import here
from harness.trials import ALL, Trial, oracle
from harness.waiting import short_waits


def test_overwrite_starts_anew(finished: Trial) -> None:
    finished.change(denoise={"max_iter": 1})
    end = finished.run("--overwrite")
    assert end.returncode == 0, end.stderr
    assert finished.executions() == Counter(ALL) + Counter(ALL)
    assert finished.done() == sorted(ALL)
    assert finished.finish(oracle(max_iter=1)) == []


def test_overwrite_is_safe_from_workers_of_the_run_before(trial: Trial) -> None:
    waits = short_waits(scheduler_gone=300)
    with trial.held(sleep=600, env=waits) as scheduler:
        trial.wait_for_two_at_work()
        scheduler.kill()
        scheduler.wait()
        trial.change(denoise={"max_iter": 1})
        # Slowly enough for the scheduler to see who is at work meanwhile.
        end = trial.run("--overwrite", sleep=0.5)
        assert end.returncode == 0, end.stderr
        trial.hook.set()
        trial.wait_until_workers_left()
    assert trial.done() == sorted(ALL)
    assert trial.finish(oracle(max_iter=1)) == []


@pytest.mark.parametrize("number", [2, 15])
def test_overwrite_can_be_killed_and_started_again(
    finished: Trial, number: int
) -> None:
    """Killed when it has deleted that many files."""
    killed = finished.run("--overwrite", **{"killed at unlink": number})
    assert killed.returncode == -signal.SIGKILL
    end = finished.run("--overwrite")
    assert end.returncode == 0, end.stderr
    assert finished.finish() == []


def test_other_peoples_folders_are_never_deleted(trial: Trial) -> None:
    (trial.output / "work").mkdir(parents=True)
    (trial.output / "work" / "thesis.txt").write_text("all of it")
    for options in ((), ("--overwrite",)):
        end = here("run", trial.path, *options)
        assert end.returncode == 4, end.stderr
        assert "was not made by this program" in end.stderr
        assert [p.name for p in trial.output.rglob("*.txt")] == ["thesis.txt"]
        assert not trial.run_dir.exists()
    shutil.rmtree(trial.output)
    zarr.create_group(trial.output).create_array("0", shape=(4,), dtype="u1")
    files = trial.contents()
    for options in ((), ("--overwrite",)):
        end = here("run", trial.path, *options)
        assert end.returncode == 4, end.stderr
        assert trial.contents() == files
    shutil.rmtree(trial.output)
    assert trial.finish() == sorted(ALL)
