"""What a batch system says of a job, and whether the worker or somebody else ended it.

A worker that was taken away costs its block no attempt; one that ended by itself may.
So every state that the systems document is here, with what must become of it, written
down by hand.
"""

from pathlib import Path

import pytest

from denoise_daisy.launchers.base import EndedBy, Exit
from denoise_daisy.launchers.batch_system import JobState
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.worker_ends import MemoryKills, cause_of
from harness.batch_site import slurm_line

RUN_DIR = RunDir(Path("/data/out.zarr.run"))
SLURM = Slurm(SlurmWorkers(kind="slurm", count=1), RUN_DIR, "denoise-cafe")
LSF = Lsf(LsfWorkers(kind="lsf", count=1), RUN_DIR, "denoise-cafe")


def slurm_says(state: str, status: str = "0", reason: str = "None") -> JobState:
    """What is made of a line of `squeue` with these words."""
    return SLURM.states(slurm_line("41_7", state, status, reason, "n7"))["slurm-41-7"]


def lsf_says(
    stat: str, code: str = "-", reason: str = "-", hosts: str = "n7"
) -> JobState:
    """What is made of a line of `bjobs` with these words."""
    line = f"denoise-cafe[7]^41^7^{stat}^{code}^{hosts}^{reason}\n"
    return LSF.states(line)["lsf-41-7"]


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
    assert slurm_says(state) == JobState("runs", host="n7")


def test_a_slurm_job_that_its_node_has_not_ended_yet_may_be_out_of_reach() -> None:
    assert slurm_says("COMPLETING") == JobState("unreachable", host="n7")


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
    exit_ = Exit("slurm-41-7", None, f"{state}, Somehow", "system", "n7")
    assert slurm_says(state, status, "Somehow") == JobState("ended", exit_)


@pytest.mark.parametrize("state", ["DEADLINE", "TIMEOUT"])
@pytest.mark.parametrize("status", ["0", "9", "36608"])
def test_a_slurm_job_whose_time_was_up_says_so(state: str, status: str) -> None:
    exit_ = Exit("slurm-41-7", None, f"{state}, TimeLimit", "walltime", "n7")
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
    exit_ = Exit("slurm-41-7", code, state, host="n7")
    assert slurm_says(state, status) == JobState("ended", exit_)


def test_a_slurm_job_out_of_memory_is_its_blocks_fault() -> None:
    exit_ = Exit("slurm-41-7", None, "OUT_OF_MEMORY", "memory", "n7")
    assert slurm_says("OUT_OF_MEMORY", "125") == JobState("ended", exit_)


@pytest.mark.parametrize("stat", ["PEND", "PSUSP", "WAIT"])
def test_an_lsf_job_that_has_not_begun_waits(stat: str) -> None:
    assert lsf_says(stat) == JobState("waits")


@pytest.mark.parametrize("stat", ["RUN", "USUSP", "SSUSP", "PROV"])
def test_an_lsf_job_that_may_go_on_has_not_ended(stat: str) -> None:
    assert lsf_says(stat) == JobState("runs", host="n7")


@pytest.mark.parametrize("stat", ["UNKWN", "ZOMBI"])
def test_an_lsf_job_whose_host_is_silent_is_out_of_reach(stat: str) -> None:
    assert lsf_says(stat) == JobState("unreachable", host="n7")


@pytest.mark.parametrize(
    ("hosts", "host"),
    [("n7", "n7"), ("4*n7", "n7"), ("n7:n7:n7", "n7"), ("2*n7.lab.org", "n7.lab.org")],
)
def test_the_host_of_an_lsf_job_is_told_however_many_cores_it_has(
    hosts: str, host: str
) -> None:
    assert lsf_says("RUN", hosts=hosts) == JobState("runs", host=host)
    assert lsf_says("EXIT", "1", hosts=hosts).exit == Exit("lsf-41-7", 1, host=host)


def test_an_lsf_job_that_never_ran_has_no_host() -> None:
    exit_ = Exit("lsf-41-7", None, "EXIT -, TERM_OWNER: by owner", "system")
    assert lsf_says("EXIT", "-", "TERM_OWNER: by owner", hosts="-").exit == exit_


@pytest.mark.parametrize(
    ("code", "by"), [("130", "system"), ("140", "walltime"), ("143", "system")]
)
def test_an_lsf_job_ended_by_lsfs_signals_was_ended_by_lsf_even_without_a_reason(
    code: str, by: EndedBy
) -> None:
    """SIGINT, SIGUSR2 and SIGTERM; not every site fills in `exit_reason`."""
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, -", by, "n7")
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
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, {reason}", "system", "n7")
    assert lsf_says("EXIT", code, reason) == JobState("ended", exit_)


@pytest.mark.parametrize("code", ["-", "1", "130", "137", "140"])
def test_an_lsf_job_whose_time_was_up_says_so(code: str) -> None:
    reason = "TERM_RUNLIMIT: job killed after reaching LSF run time limit"
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, {reason}", "walltime", "n7")
    assert lsf_says("EXIT", code, reason) == JobState("ended", exit_)


@pytest.mark.parametrize(
    ("stat", "code", "expected"),
    [
        ("DONE", "-", 0),
        ("DONE", "0", 0),
        # LSF may not know the code of a job that failed.
        ("EXIT", "-", 1),
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
    exit_ = Exit("lsf-41-7", expected, host="n7")
    assert lsf_says(stat, code) == JobState("ended", exit_)


@pytest.mark.parametrize("code", ["137", "143", "1"])
def test_an_lsf_job_out_of_memory_is_its_blocks_fault(code: str) -> None:
    reason = "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"
    exit_ = Exit("lsf-41-7", None, f"EXIT {code}, {reason}", "memory", "n7")
    assert lsf_says("EXIT", code, reason) == JobState("ended", exit_)


def test_every_exit_code_of_lsf_has_a_cause() -> None:
    """Whatever a job ends with, its worker can be buried."""
    for code in range(256):
        end = lsf_says("EXIT" if code else "DONE", str(code)).exit
        assert end is not None
        cause = cause_of(
            end,
            "",
            was_overdue=False,
            timeout_seconds=60,
            memory_kills=MemoryKills(),
        )
        assert cause.error
        if code >= 193:
            assert (end.code, cause.reason) == (code, "crash")
            assert f"exit code {code}" in cause.error


@pytest.mark.parametrize(
    ("status", "code"),
    [*((256 * code, code) for code in range(256)), *((n, -n) for n in range(1, 65))],
)
def test_every_wait_status_of_slurm_is_an_exit_code(status: int, code: int) -> None:
    exit_ = slurm_says("FAILED", str(status)).exit
    assert exit_ is not None
    assert exit_.code == code


@pytest.mark.parametrize("status", [0x7F, 0x137F, 0xFFFF, 2**31, 2**64, -1, "?"])
def test_a_wait_status_that_is_no_end_is_an_end_all_the_same(status: int | str) -> None:
    exit_ = slurm_says("FAILED", str(status)).exit
    assert exit_ is not None
    assert exit_.code
