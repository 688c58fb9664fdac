"""Workers as jobs of a batch system: the right bytes, civil calls, nothing left behind.

The same tests on a real Slurm, which they start for themselves (`scripts/local_slurm`),
and on a stand-in for LSF that really runs and really kills jobs (`fake_lsf/`).  Workers
are the real ones; a hook in their Python makes ndsafir slower, so that there is time to
do something to them, and fail for a marked block.

A green run means nothing if the jobs never ran, ended before they were hurt, or were
looked for under a wrong name.  So every test that hurts a run counts what it hurt, the
queue is asked for all jobs of this program, not only for those of one run, and whoever
expects an empty queue has seen it full before.
"""

import contextlib
import difflib
import itertools
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import daisy
import numpy as np
import psutil
import pytest
from demo_czi import write_czi
from support import (
    ROOT,
    cli,
    config_for,
    ledger_lines,
    load,
    output_of,
    processes_of,
    small_czi,
    small_image,
    whole_image,
    write_config,
)

from denoise_daisy.config import LsfWorkers, SlurmWorkers, slurm_seconds
from denoise_daisy.job import prepare
from denoise_daisy.launchers import Exit, Lsf, Slurm
from denoise_daisy.launchers.batch import JobState, clean_environment
from denoise_daisy.machine import raise_file_limit
from denoise_daisy.rundir import RunDir
from denoise_daisy.server import BlockServer
from denoise_daisy.stages import DENOISE

DATA = Path(__file__).parent / "data"
FAKE_LSF = Path(__file__).parent / "fake_lsf"

GONE_SECONDS = 60
"""Within that nothing of a run is left, however it ended."""

AT_ONCE_SECONDS = 3
"""The same where the scheduler lives: as long as the batch system takes to tidy up."""

MARK = 65535
"""The hook's ndsafir fails for an image that has this value."""

HOOK = f"""
import os, pathlib, time
here = pathlib.Path(__file__).parent
try:
    import ndsafir
except ImportError:
    ndsafir = None
if ndsafir:
    plain = ndsafir.denoise_poisson_gaussian

    def slow(image, **parameters):
        with (here / "begun").open("a") as file:
            file.write(f"{{os.getpid()}}\\n")
        if image.max() == {MARK}:
            raise RuntimeError("this block is marked")
        result = plain(image, **parameters)
        time.sleep(float((here / "seconds").read_text()))
        return result

    ndsafir.denoise_poisson_gaussian = slow
"""


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


# The batch systems.


@dataclass(frozen=True)
class Queued:
    """A job of this program that has not ended."""

    id: str
    name: str
    runs: bool


@dataclass(frozen=True)
class Call:
    """A command that was called."""

    time: float
    caller: str
    """The job that called it, - for none."""
    words: list[str]


class Cluster:
    """A batch system as the tests use it; `env` is what a run on it needs."""

    kind: str
    name: str
    polls: str
    submits: str
    one_at_a_time: ClassVar[dict[str, Any]]
    """Settings of workers of which three run at once, and the others wait."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = env | {"PYTHONPATH": str(ROOT), "PATH": f"{env['PATH']}:{path}"}

    def call(self, *words: str, check: bool = True, **more: Any) -> str:
        """A command of the batch system, called by the test."""
        env = os.environ | self.env | {"TEST_CALLER": "test"}
        return subprocess.run(
            words,
            env=env | more.pop("env", {}),
            check=check,
            text=True,
            stdout=subprocess.PIPE,
            timeout=60,
            **more,
        ).stdout

    def calls(self, program: str) -> list[Call]:
        """Calls of one program by others than the test."""
        log = self.folder / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        words = [line.split() for line in lines]
        every = [Call(float(w[0]), w[1], w[2:]) for w in words]
        return [c for c in every if c.words[0] == program and c.caller != "test"]

    def queue(self) -> list[Queued]:
        """All jobs of this program."""
        return [job for job in self.all_queued() if job.name.startswith("denoise")]

    def running(self) -> list[str]:
        return [job.id for job in self.queue() if job.runs]

    def all_queued(self) -> list[Queued]:
        raise NotImplementedError

    def cancel(self, jobs: Sequence[str]) -> None:
        raise NotImplementedError

    def fill(self) -> list[str]:
        """Jobs of somebody else that leave no place for ours."""
        raise NotImplementedError

    def exits(self, jobs: Sequence[str]) -> list[str]:
        """Exit codes of jobs that have ended."""
        raise NotImplementedError

    def add_worker(self, run_dir: Path, env: dict[str, str]) -> None:
        """The template that people use by hand."""
        raise NotImplementedError

    def end(self) -> None:
        """Nothing of any test is left."""
        raise NotImplementedError


class SlurmCluster(Cluster):
    kind = "slurm"
    name = "Slurm"
    polls = "squeue"
    submits = "sbatch"
    one_at_a_time: ClassVar = {"extra_args": ["--exclusive"]}

    def __init__(self, folder: Path) -> None:
        wrappers = folder / "bin"
        wrappers.mkdir()
        for program in ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sinfo"):
            wrapper = wrappers / program
            real = shutil.which(program)
            wrapper.write_text(
                "#!/bin/sh\ncaller=${TEST_CALLER:-${SLURM_JOB_ID:--}}\n"
                f'echo "$(date +%s.%N) $caller {program} $*" >>{folder}/calls.log\n'
                f'exec {real} "$@"\n'
            )
            wrapper.chmod(0o755)
        super().__init__(folder, {"PATH": str(wrappers)})

    def all_queued(self) -> list[Queued]:
        text = self.call("squeue", "-h", "-r", "-o", "%i|%j|%T")
        rows = [line.split("|") for line in text.splitlines()]
        return [Queued(i, name, state != "PENDING") for i, name, state in rows]

    def cancel(self, jobs: Sequence[str]) -> None:
        self.call("scancel", *jobs)

    def fill(self) -> list[str]:
        job = self.call(
            *("sbatch", "--parsable", "-o", "/dev/null", "-N3", "--exclusive"),
            *("--job-name", "other", "--wrap", "sleep 600"),
        ).strip()
        wait_until(
            lambda: [j.runs for j in self.all_queued() if j.id == job] == [True],
            20,
            "the other job runs",
        )
        return [job]

    def exits(self, jobs: Sequence[str]) -> list[str]:
        text = self.call(
            *("squeue", "-h", "-r", "-t", "all", "-j", ",".join(jobs)),
            *("-O", "exit_code:8"),
        )
        return text.split()

    def add_worker(self, run_dir: Path, env: dict[str, str]) -> None:
        self.call(
            *("sbatch", "-o", "/dev/null", "workers/slurm_worker.sh", str(run_dir)),
            cwd=ROOT,
            env=env,
        )

    def end(self) -> None:
        every = [job.id for job in self.all_queued()]
        if every:
            self.call("scancel", "--full", *every)
        wait_until(lambda: not self.all_queued(), 30, "an empty queue")


class LsfCluster(Cluster):
    kind = "lsf"
    name = "LSF"
    polls = "bjobs"
    submits = "bsub"
    one_at_a_time: ClassVar = {}

    def __init__(self, folder: Path, **settings: float | str) -> None:
        given = {"SLOTS": 3, "MINUTE": 60, "KILL_INTERVAL": 1} | settings
        env = {f"FAKE_LSF_{name}": str(value) for name, value in given.items()}
        env |= {
            "FAKE_LSF_DIR": str(folder),
            "FAKE_LSF_NOTICE": "This job will be billed to <9>; see Job 1 of the FAQ.",
            "PATH": str(FAKE_LSF),
        }
        super().__init__(folder, env)

    def all_queued(self) -> list[Queued]:
        file = self.folder / "jobs.json"
        jobs = json.loads(file.read_text()) if file.exists() else []
        return [
            Queued(self._title(job), job["name"], job["stat"] == "RUN")
            for job in jobs
            if job["stat"] in {"PEND", "RUN"}
        ]

    @staticmethod
    def _title(job: dict[str, Any]) -> str:
        return f"{job['id']}[{job['index']}]" if job["index"] else str(job["id"])

    def cancel(self, jobs: Sequence[str]) -> None:
        self.call("bkill", *jobs, check=False)

    def fill(self) -> list[str]:
        said = self.call("bsub", "-J", "other[1-3]", "-o", "/dev/null", "sleep 600")
        wait_until(
            lambda: sum(job.runs for job in self.all_queued()) == 3,
            20,
            "the other jobs run",
        )
        return re.findall(r"Job <(\d+)> is", said)

    def exits(self, jobs: Sequence[str]) -> list[str]:
        every = json.loads((self.folder / "jobs.json").read_text())
        return [str(j["exit_code"]) for j in every if self._title(j) in jobs]

    def add_worker(self, run_dir: Path, env: dict[str, str]) -> None:
        with (ROOT / "workers" / "lsf_worker.sh").open() as script:
            env = env | {"DENOISE_DAISY_RUN": str(run_dir)}
            self.call("bsub", stdin=script, env=env)

    def end(self) -> None:
        fake = [sys.executable, "-I", str(FAKE_LSF / "fake_lsf.py")]
        self.call(*fake, "stop")
        said = (self.folder / "daemon.log").read_text()
        assert "Traceback" not in said, said


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """A Slurm of our own; no other is touched."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for program in ("slurmctld", "slurmd", "sbatch", "munged"):
        if not shutil.which(program, path=path):
            pytest.skip(f"no {program}: apt-get install slurmctld slurmd slurm-client")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Slurm for all")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    before = dict(os.environ)
    os.environ |= {
        "SLURM_LOCAL_DIR": str(folder),
        "SLURM_LOCAL_PORT": str(free_ports(4)),
        "SLURM_CONF": str(folder / "slurm.conf"),
    }
    try:
        local_slurm("start")
        # Slurm's default; a shorter one would kill for us what we only ask to leave.
        config = folder / "slurm.conf"
        text = config.read_text()
        assert "KillWait=5\n" in text
        config.write_text(text.replace("KillWait=5\n", "KillWait=30\n"))
        subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)
        yield folder
    finally:
        local_slurm("stop")
        os.environ.clear()
        os.environ |= before


def local_slurm(verb: str) -> None:
    subprocess.run(
        [ROOT / "scripts" / "local_slurm", verb],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )


def free_ports(count: int) -> int:
    """The first of some free ports in a row."""
    for first in range(27000, 32000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


@pytest.fixture
def slurm_cluster(slurm: Path) -> Iterator[SlurmCluster]:
    with tempfile.TemporaryDirectory(prefix="calls-") as folder:
        cluster = SlurmCluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.end()


@pytest.fixture
def lsf_settings() -> dict[str, float | str]:
    """What the fake LSF's site has set; tests may change it before the first call."""
    return {}


@pytest.fixture
def lsf_cluster(lsf_settings: dict[str, float | str]) -> Iterator[LsfCluster]:
    with tempfile.TemporaryDirectory(prefix="lsf-") as folder:
        cluster = LsfCluster(Path(folder), **lsf_settings)
        try:
            yield cluster
        finally:
            cluster.end()


@pytest.fixture(params=[pytest.param("slurm", marks=pytest.mark.slurm), "lsf"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each of the batch systems in turn."""
    return request.getfixturevalue(f"{request.param}_cluster")


# Runs.


class Trial:
    """An image of small frames, each a block, and runs that denoise it."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster | None,
        stack: contextlib.ExitStack,
        *,
        frames: int,
        seconds: float = 0.0,
        marked: int | None = None,
        **workers: Any,
    ) -> None:
        """`seconds` is how long a block takes, `marked` the frame that fails."""
        self.folder, self.cluster, self._stack = folder, cluster, stack
        self.image = small_image((frames, 1, 2, 32, 32))
        if marked is not None:
            self.image[marked] = MARK
        self.output = folder / "out.zarr"
        self.run_dir = folder / "out.zarr.run"
        self._hook = folder / "hook"
        self._hook.mkdir()
        (self._hook / "sitecustomize.py").write_text(HOOK)
        self.set_seconds(seconds)
        self.env = cluster.env if cluster else {}
        path = f"{self._hook}:{ROOT}"
        self.slow = self.env | {"PYTHONPATH": path}
        if cluster:
            workers = {
                "kind": cluster.kind,
                "memory_gib": 1,
                "environment": f"export PYTHONPATH={shlex.quote(path)}",
            } | workers
        else:
            self.env = self.slow
        self.config = config_for(
            write_czi(folder / "in.czi", self.image),
            self.output,
            output={"dtype": "float32"},
            blocks={"shape": {"t": 1}},
        ) | {"workers": workers}
        self.config_file = write_config(folder / "config.json", self.config)
        self._starts = 0

    def set_seconds(self, seconds: float) -> None:
        (self._hook / "seconds").write_text(str(seconds))

    def start(self, *words: str) -> "Run":
        """In the background; no process of it outlives the test."""
        self._starts += 1
        command = [*words] or [sys.executable, "-m", "denoise_daisy", "run"]
        log = self.folder / f"start-{self._starts}"
        run = Run([*command, str(self.config_file)], self.env, log)
        self._stack.callback(run.process.wait)
        self._stack.callback(run.process.kill)
        return run

    def lines(self, status: str) -> list[dict[str, Any]]:
        return [x for x in ledger_lines(self.output) if x["status"] == status]

    def done(self) -> int:
        return len({tuple(line["block"]) for line in self.lines("done")})

    def blocks_begun(self) -> int:
        file = self._hook / "begun"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def wait_for_done(self, count: int, seconds: float = 90) -> None:
        wait_until(lambda: self.done() >= count, seconds, f"{count} blocks done")

    def check_nothing_is_left(self, seconds: float = AT_ONCE_SECONDS) -> None:
        assert self.cluster
        wait_until(lambda: not self.cluster.queue(), seconds, "an empty queue")
        assert processes_of(self.run_dir) == []

    def check_result(self, *, failed: int = 0) -> None:
        """All is done, right, and no more blocks were counted as failed."""
        assert self.done() == len(self.image)
        assert [line["error"] for line in self.lines("failed")][failed:] == []
        expected = whole_image(self.image, self.config)
        np.testing.assert_array_equal(output_of(self.output), expected)
        assert not list(self.output.rglob("*.partial"))
        assert not list((self.run_dir / "workers").iterdir())


class Run:
    """`denoise-daisy run`, with what it says in a file."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | env,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.is_alive, self.said
        self.process.send_signal(number)

    def wait(self, seconds: float = 120) -> int:
        """The exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still there after {seconds} s: {self.said}"
            ) from None

    def finish(self, seconds: float = 120) -> None:
        assert self.wait(seconds) == 0, self.said


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Callable[..., Trial]]:
    """Makes a trial."""
    with contextlib.ExitStack() as stack:
        yield lambda cluster, **more: Trial(tmp_path, cluster, stack, **more)


# The right bytes, and civil calls.


def test_jobs_write_the_same_bytes_as_local_workers_and_ndsafir(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Blocks that need their neighbours, to the byte of each file."""
    shape = (2, 1, 4, 64, 64)
    source = small_czi(tmp_path / "in.czi", shape)
    workers = {
        "local": {"kind": "local", "count": 1},
        cluster.kind: {"kind": cluster.kind, "count": 3, "memory_gib": 1},
    }
    trees = []
    for kind, settings in workers.items():
        output = tmp_path / f"{kind}.zarr"
        config = config_for(
            source,
            output,
            output={"dtype": "float32", "chunks": {"z": 4, "y": 16, "x": 16}},
            blocks={"shape": {"y": 32, "x": 32}},
        ) | {"workers": settings}
        done = cli(write_config(tmp_path / "config.json", config), env=cluster.env)
        assert done.returncode == 0, done.stderr
        assert cluster.queue() == []
        files = sorted(p for p in (output / "0").rglob("*") if p.is_file())
        trees.append({str(p.relative_to(output)): p.read_bytes() for p in files})
    lines = list(ledger_lines(output))
    assert len(lines) == 8
    assert {line["worker"].split("-")[0] for line in lines} == {cluster.kind}
    assert trees[0] == trees[1]
    expected = whole_image(small_image(shape), config)
    np.testing.assert_array_equal(output_of(output), expected)


def test_calls_stay_few_however_many_workers_wait(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """40 workers of which 3 run at a time: at most one poll in 5 s."""
    it = trial(cluster, frames=40, seconds=2, count=40, **cluster.one_at_a_time)
    began = time.time()
    run = it.start()
    wait_until(lambda: len(cluster.queue()) == 40, 60, "40 jobs in the queue")
    it.wait_for_done(3)
    assert len(cluster.running()) == 3
    run.finish()
    it.check_nothing_is_left()
    it.check_result()
    minutes = (time.time() - began) / 60
    polls = [c.time for c in cluster.calls(cluster.polls) if c.caller == "-"]
    gaps = [b - a for a, b in itertools.pairwise(polls)]
    assert polls, "the run is too short to show anything"
    assert min(gaps, default=5) >= 5
    assert len(polls) <= 12 * minutes
    assert len(cluster.calls(cluster.submits)) <= 2 + 4 * minutes
    # A worker may ask for its own end, once.
    asked = [c.caller for c in cluster.calls(cluster.polls) if c.caller != "-"]
    assert len(asked) == len(set(asked))


# Nothing of ours is left, however a run ends.


def test_nothing_is_left_after_blocks_that_fail(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(cluster, frames=6, marked=2, count=2, max_retries=1)
    run = it.start()
    assert run.wait() == 3, run.said
    it.check_nothing_is_left()
    assert "1 of 6 blocks of denoise failed for good" in run.said
    assert "block [2, 0, 0, 0] (t z y x): exception" in run.said
    assert "this block is marked" in run.said
    assert it.done() == 5
    failed = it.lines("failed")
    assert len(failed) == 2
    assert len({line["worker"] for line in failed}) == 2


def test_nothing_is_left_after_ctrl_c_and_after_sigterm(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """Blocks in flight finish, and the next start goes on."""
    it = trial(cluster, frames=14, seconds=1.5, count=2)
    for number in (signal.SIGINT, signal.SIGTERM):
        before = it.done()
        run = it.start()
        it.wait_for_done(before + 2)
        assert cluster.queue()
        at_signal = it.done()
        run.signal(number)
        assert run.wait(45) == 128 + number, run.said
        it.check_nothing_is_left()
        assert at_signal < it.done() < 14
        assert it.blocks_begun() == it.done()
    it.start().finish()
    it.check_nothing_is_left()
    it.check_result()


def test_a_second_ctrl_c_ends_workers_in_the_middle_of_a_block(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(cluster, frames=4, seconds=300, count=2)
    run = it.start()
    wait_until(lambda: it.blocks_begun() == 2, 60, "two blocks begun")
    run.signal(signal.SIGINT)
    wait_until(lambda: "Stopping" in run.said, 20, "that it stops")
    time.sleep(2)
    assert len(processes_of(it.run_dir)) == 2
    run.signal(signal.SIGINT)
    assert run.wait(30) == 130, run.said
    it.check_nothing_is_left()
    assert it.lines("failed") == []


def test_workers_leave_by_themselves_when_the_scheduler_is_killed(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(cluster, frames=40, seconds=2, count=4, **cluster.one_at_a_time)
    run = it.start()
    it.wait_for_done(3)
    assert [job.runs for job in cluster.queue()].count(False) == 1
    run.signal(signal.SIGKILL)
    run.wait()
    it.check_nothing_is_left(GONE_SECONDS)
    assert it.done() < 40
    # What the killed scheduler left lying about misleads nobody.
    assert (it.run_dir / "connection.json").exists()
    it.set_seconds(0)
    it.start().finish()
    it.check_nothing_is_left()
    it.check_result()


def test_a_queue_too_full_is_waited_for_and_left_clean(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """No worker ever starts: Ctrl-C, kill -9, a new start, and jobs that come late."""
    it = trial(cluster, frames=6, count=3)
    others = cluster.fill()

    run = it.start()
    wait_until(lambda: len(cluster.queue()) == 3, 60, "3 jobs in the queue")
    waits = f"3 waiting in {cluster.name}"
    wait_until(lambda: waits in run.said, 30, f"{waits!r}, but it says {run.said}")
    if cluster.kind == "slurm":
        wait_until(lambda: "(Resources" in run.said, 45, "the reason")
    killed = {job.id for job in cluster.queue()}
    run.signal(signal.SIGKILL)
    run.wait()
    assert {job.id for job in cluster.queue()} == killed

    run = it.start()
    wait_until(
        lambda: (
            len(now := {job.id for job in cluster.queue()}) == 3 and not now & killed
        ),
        60,
        "new jobs in place of those of the killed run",
    )
    run.signal(signal.SIGINT)
    assert run.wait(20) == 130, run.said
    it.check_nothing_is_left()

    run = it.start()
    wait_until(lambda: len(cluster.queue()) == 3, 60, "3 jobs in the queue")
    late = [job.id for job in cluster.queue()]
    run.signal(signal.SIGKILL)
    run.wait()
    # As if it had been killed a minute ago.
    lock = it.run_dir / "lock"
    os.utime(lock, (time.time() - 60, time.time() - 60))
    cluster.cancel(others)
    it.check_nothing_is_left(GONE_SECONDS)
    assert cluster.exits(late) == ["0", "0", "0"]
    assert it.done() == 0
    assert it.blocks_begun() == 0

    it.start().finish()
    it.check_result()


# Workers that are taken away.


def test_workers_cancelled_at_random_and_all_at_once_are_replaced(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """Until the end, and no block's retries are spent: there are none."""
    it = trial(cluster, frames=30, seconds=1, count=3, max_retries=0)
    run = it.start()
    cancelled, done = 0, 0
    while run.is_alive:
        time.sleep(3)
        running = cluster.running()
        # As long as it gets on: else a slow machine would never be done.
        if running and it.done() > done:
            done, cancelled = it.done(), cancelled + 1
            everyone = [job.id for job in cluster.queue()]
            cluster.cancel(everyone if cancelled == 2 else [secrets.choice(running)])
    assert run.wait() == 0, run.said
    assert cancelled >= 2, "all at once was never reached"
    it.check_nothing_is_left()
    it.check_result()


def outlive_the_walltime(it: Trial, seconds: float) -> None:
    """Run, and hold what was begun against what was done."""
    run = it.start()
    run.finish(seconds)
    it.check_result()
    workers = {line["worker"] for line in it.lines("done")}
    assert len(workers) >= 4, "the walltime was never reached"
    assert it.blocks_begun() - it.done() <= len(workers)


@pytest.mark.slurm
def test_a_run_outlives_the_walltime_of_slurm_workers(
    slurm_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(slurm_cluster, frames=36, seconds=4, count=2, time="1", max_retries=0)
    outlive_the_walltime(it, 300)
    it.check_nothing_is_left()


class TestShortMinutes:
    """On a fake LSF whose minutes are short."""

    @pytest.fixture
    def lsf_settings(self) -> dict[str, float | str]:
        return {"MINUTE": 20}

    def test_a_run_outlives_the_walltime_of_lsf_workers(
        self, lsf_cluster: Cluster, trial: Callable[..., Trial]
    ) -> None:
        """The worker believes in minutes of 60 s: it is LSF's signal that it obeys."""
        it = trial(
            lsf_cluster,
            frames=36,
            seconds=1.5,
            count=2,
            walltime_minutes=1,
            max_retries=0,
        )
        outlive_the_walltime(it, 200)
        it.check_nothing_is_left()

    def test_a_scheduler_outlives_its_own_walltime(
        self, lsf_cluster: Cluster, trial: Callable[..., Trial]
    ) -> None:
        it = trial(lsf_cluster, frames=24, seconds=2, count=2, max_retries=0)
        log = submit(it, "-W", "1")
        wait_until(lambda: "exit code 0." in log.read_text(), 200, "the end of the run")
        assert "ended with exit code 143" in log.read_text()
        wait_until(lambda: not lsf_cluster.queue(), 10, "an empty queue")
        it.check_result()


class TestShortMemory:
    """On a fake LSF that forgets jobs as soon as they have ended."""

    @pytest.fixture
    def lsf_settings(self) -> dict[str, float | str]:
        return {"CLEAN_PERIOD": 0.5}

    def test_jobs_that_lsf_has_forgotten_are_replaced(
        self, lsf_cluster: Cluster, trial: Callable[..., Trial]
    ) -> None:
        it = trial(lsf_cluster, frames=10, seconds=1, count=2, max_retries=0)
        run = it.start()
        it.wait_for_done(2)
        lsf_cluster.cancel(lsf_cluster.running())
        run.finish()
        it.check_result()


def test_jobs_of_a_host_that_failed_are_replaced(
    lsf_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(lsf_cluster, frames=12, seconds=1, count=3, max_retries=0)
    run = it.start()
    it.wait_for_done(2)
    fake = [sys.executable, "-I", str(FAKE_LSF / "fake_lsf.py")]
    lsf_cluster.call(*fake, "host_failure")
    run.finish()
    assert len({line["worker"] for line in it.lines("done")}) > 3
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_requeued_jobs_and_nodes_that_fall_away_do_no_harm(
    slurm_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """One worker per node: one is put back, one's node drained, one's node fails."""
    it = trial(
        slurm_cluster,
        frames=30,
        seconds=1.5,
        count=3,
        max_retries=0,
        extra_args=["--exclusive", "--requeue"],
    )
    run = it.start()
    it.wait_for_done(3)
    assert len(slurm_cluster.running()) == 3
    slurm_cluster.call("scontrol", "requeue", slurm_cluster.running()[0])
    try:
        for node, state in (("n2", "DRAIN"), ("n3", "DOWN")):
            it.wait_for_done(it.done() + 2)
            slurm_cluster.call(
                *("scontrol", "update", f"nodename={node}", f"state={state}"),
                "reason=test",
            )
        it.wait_for_done(it.done() + 2)
    finally:
        for node in ("n2", "n3"):
            slurm_cluster.call(
                *("scontrol", "update", f"nodename={node}", "state=RESUME"),
                check=False,
            )
    run.finish()
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_a_controller_and_a_munge_that_come_back_do_no_harm(
    slurm: Path, slurm_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """Slurmctld is away for 30 s, munged with it; jobs run on meanwhile."""
    it = trial(slurm_cluster, frames=40, seconds=2, count=2, max_retries=0)
    run = it.start()
    it.wait_for_done(2)
    workers = slurm_cluster.running()
    stopped = time.monotonic()
    for daemon in ("slurmctld", "munged"):
        pid = int((slurm / "pid" / f"{daemon}.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda pid=pid: not psutil.pid_exists(pid), 20, f"{daemon}'s end")
    done = it.done()
    time.sleep(max(0.0, 30 - (time.monotonic() - stopped)))
    assert it.done() >= done + 10
    local_slurm("start")
    assert slurm_cluster.running() == workers
    run.finish()
    it.check_nothing_is_left()
    it.check_result()


@pytest.mark.slurm
def test_preempted_workers_are_replaced(
    slurm_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(
        slurm_cluster,
        frames=24,
        seconds=1,
        count=3,
        max_retries=0,
        partition="low",
        extra_args=["--exclusive"],
    )
    run = it.start()
    it.wait_for_done(3)
    before = slurm_cluster.running()
    assert len(before) == 3
    slurm_cluster.call(
        *("sbatch", "-p", "high", "-N2", "--exclusive", "-o", "/dev/null"),
        *("--job-name", "other", "--wrap", "sleep 8"),
    )
    wait_until(
        lambda: len(set(before) & set(slurm_cluster.running())) == 1,
        30,
        "two workers of three preempted",
    )
    run.finish()
    it.check_nothing_is_left()
    it.check_result()


# By hand, and the scheduler as a job.


def test_workers_started_by_hand_can_do_all_the_work(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """One as a job, one as a process of this machine; late ones do no harm."""
    it = trial(cluster, frames=12, seconds=1, count=0)
    run = it.start()
    wait_until((it.run_dir / "connection.json").exists, 60, "connection.json")
    cluster.add_worker(it.run_dir, it.slow)
    it.wait_for_done(2)
    by_hand = [sys.executable, "workers/block_worker.py", str(it.run_dir)]
    env = os.environ | it.slow
    with subprocess.Popen(by_hand, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as it2:
        run.finish()
        assert it2.wait(GONE_SECONDS) == 0
    assert len({line["worker"] for line in it.lines("done")}) == 2
    it.check_nothing_is_left(GONE_SECONDS)
    it.check_result()
    late = subprocess.run(by_hand, cwd=ROOT, env=env, check=False, capture_output=True)
    assert late.returncode == 0, late.stderr
    it.check_result()


def submit(it: Trial, *options: str) -> Path:
    """Submit the scheduler as a job of its own; its log."""
    assert it.cluster
    done = subprocess.run(
        [ROOT / "scripts" / f"submit_{it.cluster.kind}", it.config_file, *options],
        env=os.environ | it.env | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    log = Path(f"{it.config_file}.log")
    assert f"Log: {log}" in done.stdout
    wait_until(log.exists, 60, "the scheduler's log")
    return log


@pytest.mark.slurm
def test_a_scheduler_that_is_told_to_leave_comes_back_until_all_is_done(
    slurm_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """The signal is the one that Slurm sends before a walltime ends."""
    it = trial(slurm_cluster, frames=16, seconds=1.5, count=2, max_retries=0)
    log = submit(it)
    it.wait_for_done(3)
    (job,) = {j.id for j in slurm_cluster.queue() if j.name == "denoise-scheduler"}
    slurm_cluster.call("scancel", "--batch", "--signal=TERM", job)
    wait_until(lambda: "exit code 143" in log.read_text(), 60, "its first end")
    assert it.done() < 16
    wait_until(lambda: "exit code 0." in log.read_text(), 120, "the end of the run")
    wait_until(lambda: not slurm_cluster.queue(), 20, "an empty queue")
    it.check_result()


# What can't work is said.


@pytest.mark.slurm
def test_an_unknown_partition_is_refused_before_anything_is_written(
    slurm_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    it = trial(slurm_cluster, frames=2, count=1, partition="nowhere")
    run = it.start()
    assert run.wait() == 2
    assert "invalid partition specified: nowhere" in run.said
    assert not it.output.exists()
    assert not it.run_dir.exists()
    assert slurm_cluster.queue() == []


def test_an_unknown_queue_is_reported_in_bsubs_words(
    lsf_cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """LSF has no dry run: its refusal comes with the first submission."""
    it = trial(lsf_cluster, frames=2, count=1, queue="nowhere")
    run = it.start()
    refusal = "nowhere: No such queue. Job not submitted."
    wait_until(lambda: refusal in run.said, 60, refusal)
    if run.is_alive:
        run.signal(signal.SIGINT)
    assert run.wait(20) in (2, 5, 130)
    assert lsf_cluster.queue() == []


def test_an_address_that_workers_cant_reach_stops_the_run(
    cluster: Cluster, trial: Callable[..., Trial]
) -> None:
    """An address of the documentation's networks, which nobody has."""
    it = trial(cluster, frames=4, count=3, host="198.51.100.7")
    run = it.start()
    assert run.wait(90) == 5, run.said
    assert re.search(r"can't reach the scheduler at 198\.51\.100\.7 port \d+", run.said)
    assert "firewall" in run.said
    assert "workers.host" in run.said
    assert cluster.queue() == []


# Trust.

FORGER = """
import json, sys, daisy
connection = json.load(open(sys.argv[1]))
context = daisy.Context(
    hostname=connection["host"],
    port=connection["port"],
    task_id="denoise." + (sys.argv[2] or connection["run_id"]),
    worker_id=-1,
    logdir="",
)
client = daisy.Client(context)
for _ in range(3):
    with client.acquire_block() as block:
        if block is None:
            break
        print("got", block.block_id, flush=True)
"""


def forge(it: Trial, run_id: str = "") -> str:
    """What a client says that takes three blocks and claims they are done."""
    connection = str(it.run_dir / "connection.json")
    return subprocess.run(
        [sys.executable, "-c", FORGER, connection, run_id],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


def test_blocks_that_a_client_only_claims_to_have_done_are_done(
    trial: Callable[..., Trial],
) -> None:
    it = trial(None, frames=10, seconds=2, kind="local", count=1)
    run = it.start()
    it.wait_for_done(1)
    mode = (it.run_dir / "connection.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert forge(it).count("got") == 3
    run.finish()
    it.check_result()


def test_a_client_of_another_run_gets_no_block(trial: Callable[..., Trial]) -> None:
    it = trial(None, frames=6, seconds=2, kind="local", count=1)
    run = it.start()
    it.wait_for_done(1)
    assert "got" not in forge(it, run_id=secrets.token_hex(16))
    run.finish()
    it.check_result()


IDLERS = """
import sys, daisy
from denoise_daisy.machine import raise_file_limit
raise_file_limit()
port, task, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
context = daisy.Context(
    hostname="127.0.0.1", port=port, task_id=task, worker_id=-1, logdir=""
)
clients = [daisy.Client(context) for _ in range(count)]
print(sum(client.connected for client in clients), flush=True)
sys.stdin.read()
"""


def test_a_thousand_idle_workers_leave_a_scheduler_at_its_work(tmp_path: Path) -> None:
    """They are connected, and another one is served as if they were not there."""
    raise_file_limit()
    source = small_czi(tmp_path / "in.czi", (20, 1, 2, 32, 32))
    config = config_for(source, tmp_path / "out.zarr", blocks={"shape": {"t": 1}})
    job = prepare(load(config), None)
    assert job.grid.size == 20
    server = BlockServer(
        job.stages,
        {DENOISE: np.zeros(20, bool)},
        lambda *_: False,
        timeout_seconds={DENOISE: 600},
        host="127.0.0.1",
    )
    task = f"{DENOISE}.{server.run_id}"
    command = [sys.executable, "-c", IDLERS, str(server.port), task, "250"]
    with contextlib.ExitStack() as stack:
        idlers = []
        for _ in range(4):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            idler = subprocess.Popen(command, text=True, **pipes)
            idlers.append(stack.enter_context(idler))
            stack.callback(idler.kill)
        assert [idler.stdout.readline() for idler in idlers] == ["250\n"] * 4
        wait_until(lambda: connections_to(server.port) >= 1000, 20, "1000 accepted")
        context = daisy.Context(
            hostname="127.0.0.1",
            port=server.port,
            task_id=task,
            worker_id=-1,
            logdir="",
        )
        client = daisy.Client(context)
        began = time.monotonic()
        served = 0
        while served < 20:
            with client.acquire_block() as block:
                assert block is not None
                served += 1
        assert time.monotonic() - began < 20
        server.join()
    assert not server.is_alive
    assert server.error is None


def connections_to(port: int) -> int:
    mine = psutil.Process().net_connections("tcp")
    return sum(c.laddr.port == port and c.status == "ESTABLISHED" for c in mine)


# Commands and words.

EVERY_SLURM_FIELD = {
    "kind": "slurm",
    "count": 3,
    "partition": "long,gpu",
    "account": "lab 7",
    "qos": "high",
    "time": "2-12:30",
    "cpus_per_task": 4,
    "memory_gib": 7.5,
    "constraint": "avx2&ib",
    "nodelist": "n[1-4]",
    "exclude": "n3",
    "extra_args": ["--mail-type=FAIL", "--comment=all of it"],
    "environment": "module load python/3.11\nsource '/home/me/my venv/bin/activate'",
    "host": "login1",
    "block_timeout_minutes": 30,
    "max_retries": 1,
}

EVERY_LSF_FIELD = {
    "kind": "lsf",
    "count": 3,
    "queue": "long",
    "project": "lab 7",
    "walltime_minutes": 480,
    "cores": 4,
    "memory_gib": 7.5,
    "extra_args": ["-G", "all of it"],
    "environment": "module load python/3.11\nsource '/home/me/my venv/bin/activate'",
    "host": "login1",
    "block_timeout_minutes": 30,
    "max_retries": 1,
}

RUN_DIR = RunDir(Path("/data/Ann's embryo.zarr.run"))
JOB_NAME = "denoise-0123456789abcdef"


def slurm_system(**fields: Any) -> Slurm:
    values = {"kind": "slurm", "count": 1} | fields
    workers = SlurmWorkers.model_validate(values, strict=False)
    return Slurm(workers, RUN_DIR, JOB_NAME)


def lsf_system(**fields: Any) -> Lsf:
    values = {"kind": "lsf", "count": 1} | fields
    return Lsf(LsfWorkers.model_validate(values, strict=False), RUN_DIR, JOB_NAME)


@pytest.mark.parametrize(
    ("name", "system", "fields"),
    [
        ("slurm_job.txt", slurm_system(**EVERY_SLURM_FIELD), EVERY_SLURM_FIELD),
        ("lsf_job.txt", lsf_system(**EVERY_LSF_FIELD), EVERY_LSF_FIELD),
    ],
    ids=["slurm", "lsf"],
)
def test_jobs_are_submitted_as_recorded(
    name: str,
    system: Slurm | Lsf,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(fields) == set(type(system.workers_config).model_fields)
    monkeypatch.setattr(sys, "executable", "/home/me/my venv/bin/python")
    now = f"{shlex.join(system.submit_command(3))}\n\n{system.script()}"
    file = DATA / name
    if os.environ.get("DENOISE_DAISY_ACCEPT"):
        file.write_text(now)
    recorded = file.read_text() if file.exists() else ""
    differences = "\n".join(
        difflib.unified_diff(
            recorded.splitlines(), now.splitlines(), "recorded", "now", lineterm=""
        )
    )
    assert not differences, (
        f"{differences}\nIf that is meant, accept it: DENOISE_DAISY_ACCEPT=1 pytest"
        f" tests/test_batch.py -k recorded, and commit {file.name}."
    )


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

    def ended(worker: str, code: int | None, why: str, **more: bool) -> JobState:
        return JobState("ended", Exit(worker, code, why, **more))

    assert states == {
        "slurm-2-0": ended("slurm-2-0", None, "PREEMPTED, None"),
        "slurm-1-3": ended("slurm-1-3", None, "CANCELLED, None"),
        "slurm-1-0": ended("slurm-1-0", 0, "COMPLETED"),
        "slurm-1-1": ended("slurm-1-1", 3, "FAILED"),
        "slurm-1-2": ended("slurm-1-2", -9, "FAILED"),
        "slurm-1-4": JobState("waits", reason="BeginTime"),
        "slurm-1-5": JobState("runs"),
        "slurm-1-6": JobState("runs"),
        "slurm-1-7": ended("slurm-1-7", None, "TIMEOUT, TimeLimit"),
        "slurm-1-8": ended("slurm-1-8", None, "NODE_FAIL, NodeDown"),
        "slurm-1-9": ended("slurm-1-9", -9, "OUT_OF_MEMORY", out_of_memory=True),
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
    expected = {
        1: JobState("runs"),
        2: JobState("ended", Exit("lsf-101-2", None, f"EXIT 130, {owner}")),
        3: JobState("waits"),
        4: JobState("ended", Exit("lsf-101-4", 0)),
        5: JobState("ended", Exit("lsf-101-5", 75)),
        6: JobState("ended", Exit("lsf-101-6", None, f"EXIT 140, {limit}")),
        7: JobState("ended", Exit("lsf-101-7", -9, memory, out_of_memory=True)),
        8: JobState("ended", Exit("lsf-101-8", -11)),
        9: JobState("runs"),
        10: JobState("ended", Exit("lsf-101-10", None, f"EXIT -, {owner}")),
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
