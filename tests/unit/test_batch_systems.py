"""Commands and words of batch systems, held against recorded ones."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.launchers.base import EndedBy, Exit
from denoise_daisy.launchers.batch_command import clean_environment
from denoise_daisy.launchers.batch_system import JobState
from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers, slurm_seconds
from denoise_daisy.run_dir.run_dir import RunDir
from harness.batch_site import slurm_line

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
    lines = "".join(slurm_line(*words, "n7") for words in SQUEUE)
    states = slurm_system().states(lines)

    def ended(
        worker: str, code: int | None, why: str, by: EndedBy = "itself"
    ) -> JobState:
        return JobState("ended", Exit(worker, code, why, by, "n7"))

    assert states == {
        "slurm-2-0": ended("slurm-2-0", None, "PREEMPTED, None", "system"),
        "slurm-1-3": ended("slurm-1-3", None, "CANCELLED, None", "system"),
        "slurm-1-0": ended("slurm-1-0", 0, "COMPLETED"),
        "slurm-1-1": ended("slurm-1-1", 3, "FAILED"),
        "slurm-1-2": ended("slurm-1-2", -9, "FAILED"),
        "slurm-1-4": JobState("waits", reason="BeginTime"),
        "slurm-1-5": JobState("runs", host="n7"),
        "slurm-1-6": JobState("unreachable", host="n7"),
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
denoise-0123456789abcdef[1]^101^1^RUN^-^n7^-
denoise-0123456789abcdef[2]^101^2^EXIT^130^n7^TERM_OWNER: job killed by owner
denoise-0123456789abcdef[3]^101^3^PEND^-^-^-
denoise-0123456789abcdef[4]^101^4^DONE^-^n7^-
denoise-0123456789abcdef[5]^101^5^EXIT^75^n7^-
denoise-0123456789abcdef[6]^101^6^EXIT^140^n7^TERM_RUNLIMIT: job killed
denoise-0123456789abcdef[7]^101^7^EXIT^137^n7^TERM_MEMLIMIT: job killed
denoise-0123456789abcdef[8]^101^8^EXIT^139^n7^-
denoise-0123456789abcdef[9]^101^9^UNKWN^-^n7^-
denoise-0123456789abcdef[10]^101^10^EXIT^-^-^TERM_OWNER: job killed by owner
denoise-0123456789abcdef[11]^101^11^EXIT^1^n7^-
"""


def test_bjobs_words_are_understood() -> None:
    states = lsf_system().states(BJOBS)
    owner = "TERM_OWNER: job killed by owner"
    limit = "TERM_RUNLIMIT: job killed"
    memory = "TERM_MEMLIMIT: job killed"

    def taken(index: int, why: str, by: EndedBy, host: str = "n7") -> JobState:
        return JobState("ended", Exit(f"lsf-101-{index}", None, why, by, host))

    def ended(index: int, code: int) -> JobState:
        return JobState("ended", Exit(f"lsf-101-{index}", code, host="n7"))

    expected = {
        1: JobState("runs", host="n7"),
        2: taken(2, f"EXIT 130, {owner}", "system"),
        3: JobState("waits"),
        4: ended(4, 0),
        5: ended(5, 75),
        6: taken(6, f"EXIT 140, {limit}", "walltime"),
        7: taken(7, f"EXIT 137, {memory}", "memory"),
        8: ended(8, -11),
        9: JobState("unreachable", host="n7"),
        10: taken(10, f"EXIT -, {owner}", "system", ""),
        11: ended(11, 1),
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
    assert clean_environment(kept | job, slurm_system()) == kept
    lsf = {"LSB_JOBID": "7", "LSB_SUB_PARM_FILE": "/x", "LS_JOBPID": "8"}
    kept |= {"LSF_ENVDIR": "/etc/lsf"}
    assert clean_environment(kept | lsf, lsf_system()) == kept
