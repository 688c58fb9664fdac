"""Blocks that fail are tried again, then given up with their reason."""

from collections import Counter
from typing import Any

from harness import here
from harness.trials import ALL, Trial, flat, index
from harness.waiting import PATIENCE, wait_for_next_server


def test_a_block_that_always_fails_is_given_up_with_its_reason(trial: Trial) -> None:
    bad = {
        3: ("exception", "exception", "ValueError: this block is bad"),
        4: ("crash", "crash", "crashed with signal 11 (SIGSEGV)"),
        5: ("exit", "crash", "ended with exit code 9"),
        7: ("lost", "lost", "was killed (SIGKILL)"),
        8: ("timeout", "timeout", "took longer than 0.3 minutes"),
        9: ("memory", "memory", "blocks.memory_gib"),
    }
    trial.change(workers={"max_retries": 1, "block_timeout_minutes": 0.3})
    end = trial.run(fail={str(block): kind for block, (kind, *_) in bad.items()})
    assert end.returncode == 3, end.stderr
    assert "6 of 12 blocks of denoise failed for good" in end.stderr
    assert "Traceback (most recent" not in end.stderr
    twice = Counter(ALL) + Counter(bad.keys())
    assert trial.executions() >= twice
    # Daisy may hand out a block before it is told how its worker ended.
    assert (trial.executions() - twice).keys() <= {4, 5, 7, 8}
    assert trial.done() == sorted(ALL - bad.keys())
    status = here("status", trial.output).stdout
    assert "6 done, 6 failed, 0 left of 12" in status
    for block, (_, reason, said) in bad.items():
        failed = [x for x in trial.lines("failed") if flat(x["block"]) == block]
        assert {x["reason"] for x in failed} == {reason}, failed
        assert len({x["worker"] for x in failed}) == len(failed) >= 2
        assert len({pid for b, pid in trial.begun() if b == block}) >= 2
        (line,) = (x for x in end.stderr.splitlines() if str(index(block)) in x)
        assert reason in line
        assert said in line
        assert f"failed: denoise block {index(block)}" in status
    checked = here("verify", trial.output)
    assert checked.returncode == 5
    assert trial.finish() == sorted(bad)


def test_a_run_whose_blocks_all_fail_stops_early(trial: Trial) -> None:
    trial.change(workers={"count": 1})
    faults: dict[str, Any] = {"fail all": "exception"}
    with trial.held(free=5, **faults) as scheduler:
        # The sixth is held until another server hands out those on trial only.
        wait_for_next_server(trial.run_dir)
        trial.hook.set(**faults)
        _, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 5, errors
    assert "ValueError: this block is bad" in errors
    assert "Traceback (most recent" not in errors
    assert 5 <= len(trial.begun()) < 24
    assert trial.processes() == []
    assert trial.finish() == sorted(ALL)


def test_a_run_whose_workers_can_not_start_stops(trial: Trial) -> None:
    end = trial.run(**{"no engine": True})
    assert end.returncode == 5, end.stderr
    assert "No worker can be kept alive" in end.stderr
    assert "import of ndsafir halted" in end.stderr
    assert trial.processes() == []
    assert trial.finish() == sorted(ALL)
