"""Commands and words of batch systems, held against recorded ones."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.launchers.base import EndedBy, Exit
from denoise_daisy.launchers.batch import JobState, clean_environment
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers, slurm_seconds
from denoise_daisy.run_dir.run_dir import RunDir

DATA = Path(__file__).parent.parent / "data"

RUN_DIR = RunDir(Path("/data/Ann's embryo.zarr.run"))
JOB_NAME = "denoise-0123456789abcdef"


def slurm_system(**fields: Any) -> Slurm:
    values = {"kind": "slurm", "count": 1} | fields
    workers = SlurmWorkers.model_validate(values, strict=False)
    return Slurm(workers, RUN_DIR, JOB_NAME)


def lsf_system(**fields: Any) -> Lsf:
    values = {"kind": "lsf", "count": 1} | fields
    return Lsf(LsfWorkers.model_validate(values, strict=False), RUN_DIR, JOB_NAME)


def test_the_recorded_scripts_are_shell_that_bash_accepts() -> None:
    for name in ("slurm_job.txt", "lsf_job.txt"):
        script = (DATA / name).read_text().partition("\n\n")[2]
        assert script.startswith("#!/bin/bash\n")
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


SQUEUE = [
    # As Slurm 22.05 has printed them.
    ("2_0", "PREEMPTED", "15", "None"),
    ("1_3", "CANCELLED", "15", "None"),
    ("1_0", "COMPLETED", "0", "None"),
    ("1_1", "FAILED", "768", "NonZeroExitCode"),
    ("1_2", "FAILED", "9", "JobLaunchFailure"),
    ("1_4", "PENDING", "0", "BeginTime"),
    ("1_5", "RUNNING", "0", "None"),
    ("1_6", "COMPLETING", "0", "None"),
    ("1_7", "TIMEOUT", "36608", "TimeLimit"),
    ("1_8", "NODE_FAIL", "0", "NodeDown"),
    ("1_9", "OUT_OF_MEMORY", "125", "OutOfMemory"),
    ("1_10", "PENDING", "0", "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved"),
]


def test_squeues_words_are_understood() -> None:
    lines = (f"{i:<64}{state:<32}{code:<16}{why:<64}" for i, state, code, why in SQUEUE)
    states = slurm_system().states("\n".join(lines) + "\n")

    def ended(
        worker: str, code: int | None, why: str, by: EndedBy = "itself"
    ) -> JobState:
        return JobState("ended", Exit(worker, code, why, by))

    assert states == {
        "slurm-2-0": ended("slurm-2-0", None, "PREEMPTED, None", "system"),
        "slurm-1-3": ended("slurm-1-3", None, "CANCELLED, None", "system"),
        "slurm-1-0": ended("slurm-1-0", 0, "COMPLETED"),
        "slurm-1-1": ended("slurm-1-1", 3, "FAILED"),
        "slurm-1-2": ended("slurm-1-2", -9, "FAILED"),
        "slurm-1-4": JobState("waits", reason="BeginTime"),
        "slurm-1-5": JobState("runs"),
        "slurm-1-6": JobState("runs"),
        "slurm-1-7": ended("slurm-1-7", None, "TIMEOUT, TimeLimit", "walltime"),
        "slurm-1-8": ended("slurm-1-8", None, "NODE_FAIL, NodeDown", "system"),
        "slurm-1-9": ended("slurm-1-9", None, "OUT_OF_MEMORY", "memory"),
        "slurm-1-10": JobState("waits", reason=SQUEUE[-1][3]),
    }


@pytest.mark.parametrize("output", ["", "\n", "slurm_load_jobs error: no\n"])
def test_what_squeue_did_not_say_of_a_job_is_nothing(output: str) -> None:
    workers = set(slurm_system().workers("1", 3))
    assert not workers & set(slurm_system().states(output))


BJOBS = """\
101^1^RUN^-^-
101^2^EXIT^130^TERM_OWNER: job killed by owner
101^3^PEND^-^-
101^4^DONE^-^-
101^5^EXIT^75^-
101^6^EXIT^140^TERM_RUNLIMIT: job killed after reaching LSF run time limit
101^7^EXIT^137^TERM_MEMLIMIT: job killed after reaching LSF memory usage limit
101^8^EXIT^139^-
101^9^UNKWN^-^-
101^10^EXIT^-^TERM_OWNER: job killed by owner
101^11^EXIT^1^-
"""


def test_bjobs_words_are_understood() -> None:
    states = lsf_system().states(BJOBS)
    owner = "TERM_OWNER: job killed by owner"
    limit = "TERM_RUNLIMIT: job killed after reaching LSF run time limit"
    memory = "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit"

    def ended(index: int, why: str, by: EndedBy) -> JobState:
        return JobState("ended", Exit(f"lsf-101-{index}", None, why, by))

    expected = {
        1: JobState("runs"),
        2: ended(2, f"EXIT 130, {owner}", "system"),
        3: JobState("waits"),
        4: JobState("ended", Exit("lsf-101-4", 0)),
        5: JobState("ended", Exit("lsf-101-5", 75)),
        6: ended(6, f"EXIT 140, {limit}", "walltime"),
        7: ended(7, f"EXIT 137, {memory}", "memory"),
        8: JobState("ended", Exit("lsf-101-8", -11)),
        9: JobState("runs"),
        10: ended(10, f"EXIT -, {owner}", "system"),
        11: JobState("ended", Exit("lsf-101-11", 1)),
    }
    assert states == {f"lsf-101-{i}": state for i, state in expected.items()}


@pytest.mark.parametrize(
    ("output", "job"),
    [
        ("123\n", "123"),
        ("123;cluster\n", "123"),
        ("Welcome to the site.\n123\n", "123"),
        ("", None),
        ("Submitted nothing\n", None),
    ],
)
def test_sbatchs_job_id_is_found(output: str, job: str | None) -> None:
    assert slurm_system().job_id(output) == job


@pytest.mark.parametrize(
    ("output", "job"),
    [
        ("Job <123> is submitted to queue <normal>.\n", "123"),
        ("Job <123> is submitted to default queue <normal>.\n", "123"),
        (
            "This job will be billed to <lab>.\nJob is submitted to <reu> project.\n"
            "Job <123> is submitted to queue <normal>.\n",
            "123",
        ),
        ("", None),
        ("Request aborted by esub. Job not submitted.\n", None),
    ],
)
def test_bsubs_job_id_is_found(output: str, job: str | None) -> None:
    assert lsf_system().job_id(output) == job


def test_bkill_is_never_called_without_a_job() -> None:
    """It would kill the user's last job, whatever that is."""
    system = lsf_system()
    assert system.cancel_commands(["lsf-101-2", "lsf-103-1"])[1] == [
        *("bkill", "101[2]", "103[1]")
    ]
    assert all(JOB_NAME in " ".join(words) for words in system.sweep_commands())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("8:00:00", 28800),
        ("2-0", 172800),
        ("1-2:30", 95400),
        ("1-2:03:04", 93784),
    ],
)
def test_slurms_times_are_understood(text: str, seconds: int) -> None:
    assert slurm_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "UNLIMITED", "1:2:3:4", "-5", "1-", "8h", "1.5"])
def test_what_is_no_time_of_slurm_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a time of Slurm"):
        slurm_seconds(text)


def test_a_job_that_submits_jobs_passes_on_none_of_its_own_settings() -> None:
    kept = {"HOME": "/home/me", "PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf"}
    job = {
        "SLURM_MEM_PER_CPU": "300",
        "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
        "SBATCH_EXPORT": "NONE",
        "SQUEUE_FORMAT": "%i",
        "PMI_RANK": "0",
    }
    private = slurm_system().private_variables
    assert clean_environment(kept | job, private) == kept
    lsf = {"LSB_JOBID": "7", "LSB_SUB_PARM_FILE": "/x", "LS_JOBPID": "8"}
    assert clean_environment(kept | lsf, lsf_system().private_variables) == kept
