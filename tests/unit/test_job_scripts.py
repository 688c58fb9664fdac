"""The jobs that are submitted, word for word, and what bash makes of their scripts.

The expected text is in `data/`, or here; nothing in the environment of the test makes
another one right.  The scripts are run with a stand-in for Python that notes what it
was given, so that a script which only looks right is found out.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.launchers.lsf import Lsf, LsfWorkers
from denoise_daisy.launchers.slurm import Slurm, SlurmWorkers
from denoise_daisy.run_dir.run_dir import RunDir
from harness import ROOT

DATA = ROOT / "tests" / "data"
PYTHON = "/home/me/my venv/bin/python"
SETUP = "module load python/3.11\nsource '/home/me/my venv/bin/activate'"

EVERY_SLURM_OPTION = SlurmWorkers(
    kind="slurm",
    count=3,
    partition="long,gpu",
    account="lab 7",
    qos="high",
    time="2-12:30",
    cpus_per_task=4,
    memory_gib=7.5,
    constraint="avx2&ib",
    nodelist="n[1-4]",
    exclude="n3",
    per_job=1,
    extra_args=("--mail-type=FAIL", "--comment=all of it"),
    environment=SETUP,
)

EVERY_LSF_OPTION = LsfWorkers(
    kind="lsf",
    count=3,
    queue="long",
    project="lab 7",
    walltime_minutes=480,
    cores=4,
    memory_gib=7.5,
    per_job=1,
    extra_args=("-G", "all of it"),
    environment=SETUP,
)

NAMED = RunDir(Path("/data/Ann's embryo.zarr.run")), "denoise-0123456789abcdef"
PLAIN = RunDir(Path("/data/out.zarr.run")), "denoise-cafe"

PLAIN_SLURM_JOB = """\
sbatch --parsable --array=0-0 --job-name=denoise-cafe --ntasks=1 --cpus-per-task=1\
 --mem=4096M --output=/dev/null --signal=B:USR1@60 --no-requeue

#!/bin/bash
_denoise_daisy_name=slurm-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID
(umask 077; : >>/data/out.zarr.run/logs/"$_denoise_daisy_name".log)
exec >>/data/out.zarr.run/logs/"$_denoise_daisy_name".log 2>&1
:
job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
ends_at=${SLURM_JOB_END_TIME:-}
if [ -z "$ends_at" ]; then
    end=$(squeue -h -j "$job" -o %e)
    [ -z "$end" ] || ends_at=$(date -d "$end" +%s)
fi
exec '/home/me/my venv/bin/python' -m denoise_daisy.worker /data/out.zarr.run \\
    --name "$_denoise_daisy_name" --task=cells --ends-at "${ends_at:-0}"
"""

PLAIN_LSF_JOB = """\
bsub -J 'denoise-cafe[1-1]' -n 1 -R 'span[hosts=1]' -M 4096MB -R 'rusage[mem=4096MB]'\
 -o /dev/null

#!/bin/bash
_denoise_daisy_name=lsf-$LSB_JOBID-$LSB_JOBINDEX
_denoise_daisy_ends_at=0
(umask 077; : >>/data/out.zarr.run/logs/"$_denoise_daisy_name".log)
exec >>/data/out.zarr.run/logs/"$_denoise_daisy_name".log 2>&1
:
exec '/home/me/my venv/bin/python' -m denoise_daisy.worker /data/out.zarr.run \\
    --name "$_denoise_daisy_name" --task=cells --ends-at "$_denoise_daisy_ends_at"
"""


def job(system: Slurm | Lsf, count: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command of a submission, and the script that it gets."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", PYTHON)
        return f"{shlex.join(system.submit_command(count))}\n\n{system.script()}"


@pytest.mark.parametrize(
    ("system", "file"),
    [
        (Slurm(EVERY_SLURM_OPTION, *NAMED), "slurm_job.txt"),
        (Lsf(EVERY_LSF_OPTION, *NAMED), "lsf_job.txt"),
    ],
    ids=["slurm", "lsf"],
)
def test_a_job_with_every_option_is_the_recorded_one(
    system: Slurm | Lsf, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = system.workers_config
    left = type(options).model_fields.keys() - options.model_fields_set
    assert left <= {"block_timeout_minutes", "max_retries", "host"}, "not of the system"
    assert job(system, 3, monkeypatch) == (DATA / file).read_text()


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (Slurm(SlurmWorkers(kind="slurm", count=1), *PLAIN, "cells"), PLAIN_SLURM_JOB),
        (Lsf(LsfWorkers(kind="lsf", count=1), *PLAIN, "cells"), PLAIN_LSF_JOB),
    ],
    ids=["slurm", "lsf"],
)
def test_a_job_of_a_task_without_options_is_as_written_here(
    system: Slurm | Lsf, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job(system, 1, monkeypatch) == expected


SHARED_SLURM_JOB = """\
sbatch --parsable --array=0-0 --job-name=denoise-cafe --ntasks=1 --cpus-per-task=6\
 --mem=7680M --output=/dev/null --signal=B:USR1@60 --no-requeue

#!/bin/bash
_denoise_daisy_name=slurm-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID
(umask 077; : >>/data/out.zarr.run/logs/"$_denoise_daisy_name"-1.log)
exec >>/data/out.zarr.run/logs/"$_denoise_daisy_name"-1.log 2>&1
:
job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
ends_at=${SLURM_JOB_END_TIME:-}
if [ -z "$ends_at" ]; then
    end=$(squeue -h -j "$job" -o %e)
    [ -z "$end" ] || ends_at=$(date -d "$end" +%s)
fi
exec '/home/me/my venv/bin/python' -m denoise_daisy.worker.job --workers=3 \
/data/out.zarr.run \\
    --name "$_denoise_daisy_name" --task=cells --ends-at "${ends_at:-0}"
"""

SHARED_LSF_JOB = """\
bsub -J 'denoise-cafe[1-1]' -n 6 -R 'span[hosts=1]' -M 7680MB -R 'rusage[mem=7680MB]'\
 -o /dev/null

#!/bin/bash
_denoise_daisy_name=lsf-$LSB_JOBID-$LSB_JOBINDEX
_denoise_daisy_ends_at=0
(umask 077; : >>/data/out.zarr.run/logs/"$_denoise_daisy_name"-1.log)
exec >>/data/out.zarr.run/logs/"$_denoise_daisy_name"-1.log 2>&1
:
exec '/home/me/my venv/bin/python' -m denoise_daisy.worker.job --workers=3 \
/data/out.zarr.run \\
    --name "$_denoise_daisy_name" --task=cells --ends-at "$_denoise_daisy_ends_at"
"""

SHARED: dict[str, Any] = {"count": 6, "per_job": 3, "memory_gib": 2.5}
"""Three workers in a job, which asks for three times as much."""


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            Slurm(
                SlurmWorkers(kind="slurm", cpus_per_task=2, **SHARED), *PLAIN, "cells"
            ),
            SHARED_SLURM_JOB,
        ),
        (
            Lsf(LsfWorkers(kind="lsf", cores=2, **SHARED), *PLAIN, "cells"),
            SHARED_LSF_JOB,
        ),
    ],
    ids=["slurm", "lsf"],
)
def test_a_job_of_several_workers_asks_for_what_all_of_them_need(
    system: Slurm | Lsf, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job(system, 1, monkeypatch) == expected


class Node:
    """Where a job script is run, with programs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = RunDir(folder / "Ann's embryo.zarr.run")
        self.run_dir.logs.mkdir(parents=True)
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._words = folder / "words"
        self.program("python", f'printf "%s\\n" "$@" >{shlex.quote(str(self._words))}')
        self.python = str(self._bin / "python")

    def program(self, name: str, script: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self._bin / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> list[str] | None:
        """The words that Python was given; None where it was not called."""
        subprocess.run(
            ["bash", "-s", "--", *arguments],
            input=script,
            text=True,
            env={"PATH": f"{self._bin}:/usr/bin:/bin"} | environment,
            cwd=self.folder,
            check=False,
            timeout=120,
        )
        if not self._words.exists():
            return None
        return self._words.read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(sys, "executable", node.python)
    return node


SLURM_JOB = {"SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "7"}
NO_END = ("--ends-at", "0")
LSF_JOB = {"LSB_JOBID": "41", "LSB_JOBINDEX": "7"}


def slurm_script(node: Node, environment: str | None = None) -> str:
    workers = SlurmWorkers(kind="slurm", count=1, environment=environment)
    return Slurm(workers, node.run_dir, "denoise-cafe").script()


def test_a_slurm_job_becomes_a_worker_named_after_it(node: Node) -> None:
    words = node.run(slurm_script(node), SLURM_JOB_END_TIME="1800000000", **SLURM_JOB)
    assert words == [
        *("-m", "denoise_daisy.worker", str(node.run_dir.path)),
        *("--name", "slurm-41-7", "--ends-at", "1800000000"),
    ]


SITE = """
for name in python zarr; do ends_at=$name; done
export name ends_at job=1 end=2
set -eu
"""
"""Lines of a site that have variables of their own and leave the shell strict."""


def test_a_slurm_job_is_itself_whatever_its_setup_does_to_the_shell(node: Node) -> None:
    node.program("squeue", "exit 1")
    words = node.run(slurm_script(node, SITE), **SLURM_JOB)
    assert words is not None
    assert words[2:] == [str(node.run_dir.path), "--name", "slurm-41-7", *NO_END]


def test_an_lsf_job_is_itself_whatever_its_setup_does_to_the_shell(node: Node) -> None:
    workers = LsfWorkers(kind="lsf", count=1, environment=SITE)
    words = node.run(Lsf(workers, node.run_dir, "denoise-cafe").script(), **LSF_JOB)
    assert words is not None
    assert words[2:] == [str(node.run_dir.path), "--name", "lsf-41-7", *NO_END]


def test_an_older_slurm_is_asked_for_the_end_of_the_job(node: Node) -> None:
    asked = shlex.quote(str(node.run_dir.path / "asked"))
    node.program("squeue", f'echo "$@" >{asked}; echo 2027-01-15T08:00:00')
    words = node.run(slurm_script(node), TZ="UTC", **SLURM_JOB)
    assert words is not None
    assert words[-2:] == ["--ends-at", "1800000000"]
    assert (node.run_dir.path / "asked").read_text() == "-h -j 41_7 -o %e\n"


def test_a_slurm_job_without_a_time_limit_never_ends(node: Node) -> None:
    node.program("squeue", "echo NONE")
    words = node.run(slurm_script(node), **SLURM_JOB)
    assert words is not None
    assert words[-2:] == ["--ends-at", "0"]


def test_a_slurm_that_does_not_answer_sets_no_end(node: Node) -> None:
    """For `date -d ''` is last midnight, and the worker would leave."""
    node.program("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    words = node.run(slurm_script(node), **SLURM_JOB)
    assert words is not None
    assert words[-2:] == ["--ends-at", "0"]


@pytest.mark.parametrize(
    ("squeue", "ends_at"),
    [
        pytest.param("echo 2027-01-15T08:00:00", "1800000000", id="until then"),
        pytest.param("echo NONE", "0", id="no limit"),
        pytest.param("exit 1", "0", id="no answer"),
    ],
)
@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SLURM_JOB_ID": "48"}, "48"),
        ({"SLURM_JOB_ID": "48"} | SLURM_JOB, "41_7"),
    ],
    ids=["alone", "of an array"],
)
def test_a_worker_that_is_sent_manually_knows_its_end_too(
    squeue: str, ends_at: str, variables: dict[str, str], job: str, node: Node
) -> None:
    asked = node.run_dir.path / "asked"
    node.program("squeue", f'echo "$@" >{shlex.quote(str(asked))}; {squeue}')
    script = (ROOT / "workers" / "slurm_worker.sh").read_text()
    run_dir = str(node.run_dir.path)
    words = node.run(script, run_dir, "--task", "cells", TZ="UTC", **variables)
    assert words == [
        *("-m", "denoise_daisy.worker", run_dir),
        *("--task", "cells", "--ends-at", ends_at),
    ]
    assert asked.read_text() == f"-h -j {job} -o %e\n"


def manual_worker(node: Node, kind: str, run_dir: Path | str) -> list[str] | None:
    """What becomes of a worker that is sent as job 48, with a line of the site's."""
    script = (ROOT / "workers" / f"{kind}_worker.sh").read_text()
    script = script.replace("# module load python/3.11", "echo set up")
    if kind == "slurm":
        return node.run(script, str(run_dir), SLURM_JOB_ID="48")
    variables = {"LSB_JOBID": "48", "LSB_JOBINDEX": "0"}
    return node.run(script, DENOISE_DAISY_RUN=str(run_dir), **variables)


MANUAL_JOB = {"slurm": "48", "lsf": "48_0"}


@pytest.mark.parametrize("kind", MANUAL_JOB)
def test_what_a_manual_worker_says_only_its_owner_can_read(
    kind: str, node: Node
) -> None:
    """Nor is the output that others can read made less readable."""
    node.program("python", f'echo "$3"; umask >{shlex.quote(str(node.folder))}/umask')
    node.program("squeue", "echo NONE")
    before = os.umask(0o022)
    try:
        manual_worker(node, kind, node.run_dir.path)
    finally:
        os.umask(before)
    log = node.run_dir.logs / f"manual-{MANUAL_JOB[kind]}.log"
    assert log.read_text().startswith("set up\n")
    assert log.stat().st_mode & 0o777 == 0o600
    assert (node.folder / "umask").read_text() == "0022\n"
    options = (ROOT / "workers" / f"{kind}_worker.sh").read_text()
    assert re.search(r"^#(SBATCH --output=|BSUB -o )/dev/null$", options, re.MULTILINE)


@pytest.mark.parametrize("kind", MANUAL_JOB)
@pytest.mark.parametrize("run_dir", ["", "/nowhere/out.zarr.run"])
def test_a_manual_worker_without_a_run_says_so_where_it_was_sent(
    kind: str, run_dir: str, node: Node
) -> None:
    assert manual_worker(node, kind, run_dir) is None
    said = (node.folder / f"denoise-worker-{MANUAL_JOB[kind]}.err").read_text()
    assert said.startswith(f"Can't write {run_dir}/logs/manual-")
    assert "run that is going on" in said


@pytest.mark.parametrize(("minutes", "seconds"), [(480, 28800), (None, None)])
def test_an_lsf_job_counts_its_walltime_from_its_start(
    minutes: int | None, seconds: int | None, node: Node
) -> None:
    workers = LsfWorkers(kind="lsf", count=1, walltime_minutes=minutes)
    before = int(time.time())
    words = node.run(Lsf(workers, node.run_dir, "denoise-cafe").script(), **LSF_JOB)
    assert words is not None
    *words, ends_at = words
    assert words == [
        *("-m", "denoise_daisy.worker", str(node.run_dir.path)),
        *("--name", "lsf-41-7", "--ends-at"),
    ]
    if seconds is None:
        assert ends_at == "0"
    else:
        assert before + seconds <= int(ends_at) <= time.time() + seconds


def test_a_job_of_several_workers_begins_in_the_log_of_the_first(node: Node) -> None:
    workers = SlurmWorkers(kind="slurm", environment="echo set up", **SHARED)
    script = Slurm(workers, node.run_dir, "denoise-cafe").script()
    words = node.run(script, SLURM_JOB_END_TIME="1800000000", **SLURM_JOB)
    assert words == [
        *("-m", "denoise_daisy.worker.job", "--workers=3", str(node.run_dir.path)),
        *("--name", "slurm-41-7", "--ends-at", "1800000000"),
    ]
    assert node.run_dir.worker_log("slurm-41-7-1").read_text() == "set up\n"
    assert not node.run_dir.worker_log("slurm-41-7").exists()


def test_the_users_lines_come_first_and_what_they_say_is_in_the_workers_log(
    node: Node,
) -> None:
    script = slurm_script(node, environment="echo set up\nexport A='b c'; echo $A")
    words = node.run(script, SLURM_JOB_END_TIME="1", **SLURM_JOB)
    assert words is not None
    log = node.run_dir.worker_log("slurm-41-7").read_text()
    assert log == "set up\nb c\n"


def test_a_line_of_the_users_that_fails_ends_the_job(node: Node) -> None:
    script = slurm_script(node, environment="false\necho never said")
    assert node.run(script, SLURM_JOB_END_TIME="1", **SLURM_JOB) is None
    assert node.run_dir.worker_log("slurm-41-7").read_text() == ""
