"""What a batch system says of a job, and whether the worker or somebody else ended it.

A worker that was taken away costs its block no attempt; one that ended by itself may.
So every state that the systems document is here, with what must become of it, written
down by hand.
"""

from pathlib import Path

import pytest

from denoise_daisy.launchers.base import EndedBy, Exit
from denoise_daisy.launchers.batch import JobState
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.run_dir.run_dir import RunDir

RUN_DIR = RunDir(Path("/data/out.zarr.run"))
SLURM = Slurm(SlurmWorkers(kind="slurm", count=1), RUN_DIR, "denoise-cafe")
LSF = Lsf(LsfWorkers(kind="lsf", count=1), RUN_DIR, "denoise-cafe")


def slurm_says(state: str, status: str = "0", reason: str = "None") -> JobState:
    """What is made of a line of `squeue` with these words."""
    line = f"{'41_7':<64}{state:<32}{status:<16}{reason:<64}\n"
    return SLURM.states(line)["slurm-41-7"]


def lsf_says(stat: str, code: str = "-", reason: str = "-") -> JobState:
    """What is made of a line of `bjobs` with these words."""
    return LSF.states(f"41^7^{stat}^{code}^{reason}\n")["lsf-41-7"]


@pytest.mark.parametrize(
    "state",
    [
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    ],
)
def test_a_slurm_job_that_has_not_begun_waits_and_says_why(state: str) -> None:
    assert slurm_says(state, reason="Priority") == JobState("waits", None, "Priority")


@pytest.mark.parametrize(
    "state",
    [
        "RUNNING",
        "COMPLETING",
        "RESIZING",
        "SUSPENDED",
        "STOPPED",
        "SIGNALING",
        "STAGE_OUT",
        "A_WORD_OF_TOMORROW",
    ],
)
def test_a_slurm_job_that_may_go_on_has_not_ended(state: str) -> None:
    """Nor has one whose state is not known: to take it for dead costs its block."""
    assert slurm_says(state) == JobState("runs")


@pytest.mark.parametrize(
    "state",
    [
        "BOOT_FAIL",
        "CANCELLED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "REVOKED",
    ],
)
@pytest.mark.parametrize("status", ["0", "15", "9", "36608"])
def test_a_slurm_job_that_was_taken_away_has_no_exit_code(
    state: str, status: str
) -> None:
    """Whatever its processes said when they were ended."""
    exit_ = Exit("slurm-41-7", None, f"{state}, Somehow", "system")
    assert slurm_says(state, status, "Somehow") == JobState("ended", exit_)


@pytest.mark.parametrize("state", ["DEADLINE", "TIMEOUT"])
@pytest.mark.parametrize("status", ["0", "9", "36608"])
def test_a_slurm_job_whose_time_was_up_says_so(state: str, status: str) -> None:
    exit_ = Exit("slurm-41-7", None, f"{state}, TimeLimit", "walltime")
    assert slurm_says(state, status, "TimeLimit") == JobState("ended", exit_)


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("COMPLETED", "0", 0),
        ("FAILED", "256", 1),
        ("FAILED", "2304", 9),
        # 72, 74, 75 and 87: the output gone, the disk full, left early, out of time.
        ("FAILED", "18432", 72),
        ("FAILED", "18944", 74),
        ("FAILED", "19200", 75),
        ("FAILED", "22272", 87),
        # Signals 9 and 15, and 11 and 6 with a core.
        ("FAILED", "9", -9),
        ("FAILED", "15", -15),
        ("FAILED", "139", -11),
        ("FAILED", "134", -6),
        ("FAILED", "", 1),
    ],
)
def test_a_slurm_job_that_ended_by_itself_has_its_workers_exit_code(
    state: str, status: str, code: int
) -> None:
    exit_ = Exit("slurm-41-7", code, state)
    assert slurm_says(state, status) == JobState("ended", exit_)


def test_a_slurm_job_out_of_memory_is_its_blocks_fault() -> None:
    exit_ = Exit("slurm-41-7", None, "OUT_OF_MEMORY", "memory")
    assert slurm_says("OUT_OF_MEMORY", "125") == JobState("ended", exit_)


@pytest.mark.parametrize("stat", ["PEND", "PSUSP", "WAIT"])
def test_an_lsf_job_that_has_not_begun_waits(stat: str) -> None:
    assert lsf_says(stat) == JobState("waits")


@pytest.mark.parametrize("stat", ["RUN", "USUSP", "SSUSP", "PROV", "UNKWN", "ZOMBI"])
def test_an_lsf_job_that_may_go_on_has_not_ended(stat: str) -> None:
    assert lsf_says(stat) == JobState("runs")


@pytest.mark.parametrize(
    ("code", "by"), [("130", "system"), ("140", "walltime"), ("143", "system")]
)
def test_an_lsf_job_ended_by_lsfs_signals_was_ended_by_lsf_even_without_a_reason(
    code: str, by: EndedBy
) -> None:
    """SIGINT, SIGUSR2 and SIGTERM; not every site fills in `exit_reason`."""
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, -", by)
    assert lsf_says("EXIT", code) == JobState("ended", exit_)


@pytest.mark.parametrize("code", ["-", "1", "130", "139"])
@pytest.mark.parametrize(
    "reason",
    [
        *("TERM_OWNER: by owner", "TERM_PREEMPT: preempted", "TERM_ADMIN: by root"),
        *("TERM_REQUEUE_ADMIN: requeued", "TERM_UNKNOWN: unknown"),
    ],
)
def test_an_lsf_job_with_a_reason_of_lsfs_was_taken_away_whatever_its_code(
    code: str, reason: str
) -> None:
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, {reason}", "system")
    assert lsf_says("EXIT", code, reason) == JobState("ended", exit_)


@pytest.mark.parametrize("code", ["-", "1", "130", "137", "140"])
def test_an_lsf_job_whose_time_was_up_says_so(code: str) -> None:
    reason = "TERM_RUNLIMIT: job killed after reaching LSF run time limit"
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, {reason}", "walltime")
    assert lsf_says("EXIT", code, reason) == JobState("ended", exit_)


@pytest.mark.parametrize(
    ("stat", "code", "expected"),
    [
        ("DONE", "-", 0),
        ("DONE", "0", 0),
        ("EXIT", "1", 1),
        ("EXIT", "72", 72),
        ("EXIT", "74", 74),
        ("EXIT", "75", 75),
        ("EXIT", "87", 87),
        ("EXIT", "127", 127),
        ("EXIT", "128", 128),
        # SIGABRT, SIGBUS, a SIGKILL that nobody gives a reason for, SIGSEGV, and the
        # last signal that there is.
        ("EXIT", "134", -6),
        ("EXIT", "135", -7),
        ("EXIT", "137", -9),
        ("EXIT", "139", -11),
        ("EXIT", "192", -64),
        ("EXIT", "193", 193),
        ("EXIT", "255", 255),
    ],
)
def test_an_lsf_job_that_ended_by_itself_has_its_workers_exit_code(
    stat: str, code: str, expected: int
) -> None:
    assert lsf_says(stat, code) == JobState("ended", Exit("lsf-41-7", expected))


@pytest.mark.parametrize("code", ["137", "143", "1"])
def test_an_lsf_job_out_of_memory_is_its_blocks_fault(code: str) -> None:
    reason = "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, {reason}", "memory")
    assert lsf_says("EXIT", code, reason) == JobState("ended", exit_)
