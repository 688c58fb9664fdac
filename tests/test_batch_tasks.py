"""Tasks with workers of their own: jobs of a batch system beside local ones.

On a real Slurm and on the stand-in for LSF of `test_batch`.  The functions are slowed
down by a file, so that there is time to do something to their workers.
"""

import contextlib
import itertools
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_batch
from support import (
    ROOT,
    cli,
    config_for,
    ledger_lines,
    output_of,
    processes_of,
    small_czi,
    write_config,
)
from test_batch import (
    AT_ONCE_SECONDS,
    GONE_SECONDS,
    Cluster,
    Run,
    SlurmCluster,
    wait_until,
)

from denoise_daisy.config import LsfWorkers, SlurmWorkers
from denoise_daisy.launchers import Lsf, Slurm, launcher_for
from denoise_daisy.launchers.local import LocalLauncher
from denoise_daisy.rundir import RunDir

slurm, slurm_cluster = test_batch.slurm, test_batch.slurm_cluster
lsf_settings, lsf_cluster = test_batch.lsf_settings, test_batch.lsf_cluster
cluster = test_batch.cluster
"""Fixtures, which pytest looks for in this module."""

STEPS = """
import pathlib, time

def add(block, context):
    time.sleep(float(pathlib.Path(__file__).with_name("seconds").read_text()))
    return block + context.params["number"]
"""

NAMES = ("one", "one-1")
"""Of tasks; the one is the beginning of the other."""


class Chain:
    """Frames, each a block, denoised by one local worker, and functions after that."""

    def __init__(
        self,
        folder: Path,
        stack: contextlib.ExitStack,
        cluster: Cluster | None,
        workers: dict[str, dict[str, Any] | None],
        frames: int,
    ) -> None:
        """`workers` are those of each function, by its name; None: the run's."""
        self.folder, self.cluster, self._stack = folder, cluster, stack
        self.workers, self.frames = workers, frames
        self.output = folder / "out.zarr"
        self.run_dir = folder / "out.zarr.run"
        (folder / "steps.py").write_text(STEPS)
        self.set_seconds(0)
        if cluster:
            given = {"kind": cluster.kind, "memory_gib": 1}
            workers = {n: own and given | own for n, own in workers.items()}
        common = {"kind": "function", "function": "steps:add", "folder": str(folder)}
        common |= {"dtype": "float32", "channels": 1}
        config = config_for(
            small_czi(folder / "in.czi", (frames, 1, 2, 32, 32)),
            self.output,
            blocks={"shape": {"t": 1}},
            workers={"count": 1},
        ) | {
            "tasks": [
                {**common, "name": name, "params": {"number": i + 1}, "workers": own}
                for i, (name, own) in enumerate(workers.items())
            ],
        }
        del config["noise"]
        self.config_file = write_config(folder / "config.json", config)
        self.env = cluster.env if cluster else {}
        self._starts = itertools.count()

    def set_seconds(self, seconds: float) -> None:
        (self.folder / "seconds").write_text(str(seconds))

    def start(self, *words: str) -> Run:
        """`run` in the background."""
        command = [sys.executable, "-m", "denoise_daisy", "run", *words]
        log = self.folder / f"start-{next(self._starts)}"
        run = Run([*command, str(self.config_file)], self.env, log)
        self._stack.callback(run.process.wait)
        self._stack.callback(run.process.kill)
        return run

    def done_by(self, stage: str) -> list[str]:
        """The worker of each block that is done."""
        lines = ledger_lines(self.output, stage)
        return [line["worker"] for line in lines if line["status"] == "done"]

    def wait_until_hands_are_wanted(self, run: Run) -> None:
        wait_until(
            lambda: len(self.done_by("denoise")) == self.frames or not run.is_alive,
            60,
            "everything denoised",
        )
        assert run.is_alive, run.said

    def check_nothing_is_left(self, seconds: float = AT_ONCE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        if self.cluster:
            wait_until(lambda: not self.cluster.queue(), seconds, "an empty queue")
        left = max(0.0, deadline - time.monotonic())
        wait_until(lambda: not processes_of(self.run_dir), left, "no worker")

    def check_result(self) -> None:
        """Every block was done once, by whom it should be, and is right."""
        denoised = output_of(self.output)
        for name, own in {"denoise": None, **self.workers}.items():
            assert len(self.done_by(name)) == self.frames
            whose = {who.split("-")[0] for who in self.done_by(name)}
            assert (whose == {"local"}) == (own is None)
        for i, name in enumerate(self.workers):
            found = output_of(self.output.with_name(f"out.{name}.zarr"))
            np.testing.assert_array_equal(found, denoised.astype(np.float32) + i + 1)
        stages = ("denoise", *self.workers)
        lines = [x for stage in stages for x in ledger_lines(self.output, stage)]
        assert [x["error"] for x in lines if x["status"] == "failed"] == []
        assert not list((self.run_dir / "workers").iterdir())


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Callable[..., Chain]]:
    """Makes a chain."""
    with contextlib.ExitStack() as stack:
        yield lambda cluster, workers, frames=4: Chain(
            tmp_path, stack, cluster, workers, frames
        )


# Pools of a run.


def test_tasks_are_done_by_their_own_jobs_and_the_rest_by_local_workers(
    cluster: Cluster, chain: Callable[..., Chain]
) -> None:
    """Two have a job each, one a job that is sent by hand, from the template."""
    own = {name: {"count": 1} for name in NAMES}
    it = chain(cluster, own | {"sent": {"count": 0}})

    plan = cli("plan", it.config_file, env=cluster.env)
    assert plan.returncode == 0, plan.stderr
    _, _, jobs = plan.stdout.partition("Workers would be submitted so:\n")
    found = [word for word in jobs.split() if word.startswith("--task")]
    assert found[:2] == [f"--task={name}" for name in NAMES]
    assert cluster.queue() == []
    assert not it.run_dir.exists()

    run = it.start()
    wait_until(
        lambda: all(it.done_by(name) for name in NAMES) or not run.is_alive,
        60,
        "each pool at work",
    )
    assert it.done_by("sent") == []
    if isinstance(cluster, SlurmCluster):
        script = ("workers/slurm_worker.sh", str(it.run_dir), "--task", "sent")
        cluster.call("sbatch", "-o", "/dev/null", *script, cwd=ROOT)
    else:
        names = {"DENOISE_DAISY_RUN": str(it.run_dir), "DENOISE_DAISY_TASK": "sent"}
        with (ROOT / "workers" / "lsf_worker.sh").open() as file:
            cluster.call("bsub", stdin=file, env=names)
    run.finish()
    it.check_nothing_is_left(20)
    it.check_result()
    workers = [set(it.done_by(name)) for name in it.workers]
    assert {w.split("-")[0] for w in workers[0] | workers[1]} == {cluster.kind}
    assert {w.split("-")[0] for w in workers[2]}.isdisjoint({cluster.kind, "local"})
    assert len(set.union(*workers)) == sum(map(len, workers))
    assert "1 workers, 1 for one, 1 for one-1, 0 for sent" in run.said


def test_killing_the_scheduler_ends_the_workers_of_all_pools(
    cluster: Cluster, chain: Callable[..., Chain]
) -> None:
    """Within a minute, and the next start goes on."""
    it = chain(cluster, {"here": None} | {n: {"count": 1} for n in NAMES}, frames=12)
    it.set_seconds(1)
    run = it.start()
    wait_until(
        lambda: all(it.done_by(name) for name in it.workers) or not run.is_alive,
        60,
        "each pool at work",
    )
    assert len(cluster.running()) == 2
    assert len(processes_of(it.run_dir)) == 3
    run.signal(signal.SIGKILL)
    run.wait()
    it.check_nothing_is_left(GONE_SECONDS)
    assert all(len(it.done_by(name)) < it.frames for name in it.workers)

    it.set_seconds(0)
    it.start().finish()
    it.check_nothing_is_left()
    it.check_result()


def test_waiting_jobs_of_a_killed_start_are_taken_back_whatever_the_next_one_does(
    cluster: Cluster, chain: Callable[..., Chain]
) -> None:
    """Also those of a task that is not asked for any more."""
    it = chain(cluster, {"here": None} | {name: {"count": 1} for name in NAMES})
    it.set_seconds(2)
    others = cluster.fill()
    run = it.start()
    wait_until(
        lambda: len(cluster.queue()) == 2 or not run.is_alive, 60, "2 jobs in the queue"
    )
    run.signal(signal.SIGKILL)
    run.wait()
    assert [job.runs for job in cluster.queue()] == [False, False]
    assert len(it.done_by("here")) < it.frames
    it.set_seconds(0)
    it.start("--task", "denoise", "--task", "here").finish()
    left = [job.name for job in cluster.queue()]
    cluster.cancel(others)
    assert left == []


# Workers started by hand.


def test_a_worker_started_by_hand_serves_a_task(chain: Callable[..., Chain]) -> None:
    """It does that task's blocks, and no others."""
    it = chain(None, {"one": {"kind": "local", "count": 0}})
    run = it.start()
    it.wait_until_hands_are_wanted(run)
    assert it.done_by("one") == []
    worker = [sys.executable, "workers/block_worker.py", str(it.run_dir)]
    done = subprocess.run(
        [*worker, "--task", "one", "--name", "by-hand"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run.finish(20)
    assert set(it.done_by("one")) == {"by-hand"}
    it.check_nothing_is_left(20)
    it.check_result()


def test_a_run_tells_that_a_task_waits_for_workers_started_by_hand(
    chain: Callable[..., Chain],
) -> None:
    """Though its other blocks have workers."""
    it = chain(None, {"one": {"kind": "local", "count": 0}})
    run = it.start()
    it.wait_until_hands_are_wanted(run)
    wait_until(
        lambda: "waiting for workers to be started by hand" in run.said,
        5,
        "that it says what it waits for",
    )


def test_a_worker_for_a_task_without_own_workers_says_so(
    chain: Callable[..., Chain],
) -> None:
    """At once, instead of waiting for blocks that never come."""
    it = chain(None, {"one": {"kind": "local", "count": 0}})
    run = it.start()
    it.wait_until_hands_are_wanted(run)
    worker = [sys.executable, "workers/block_worker.py", str(it.run_dir)]
    done = subprocess.run(
        [*worker, "--task", "another"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "another" in done.stderr
    assert done.returncode != 0
    assert run.is_alive, run.said


# Names.


def test_local_workers_of_two_pools_have_names_of_their_own(tmp_path: Path) -> None:
    """Real processes, which find no scheduler and end at once."""
    run_dir = RunDir.of_output(tmp_path / "out.zarr")
    run_dir.make([])
    tasks = ("", "1", "1-1")
    launchers = [LocalLauncher(run_dir, task) for task in tasks]
    names = []
    for launcher in launchers:
        launcher.start(2)
        names += sorted(launcher.living())
    assert len(names) == 6
    assert len(set(names)) == 6
    exits = []

    def all_ended() -> bool:
        exits.extend(e for launcher in launchers for e in launcher.ended())
        return len(exits) == 6

    wait_until(all_ended, 60, "the end of all")
    assert {e.code for e in exits} == {0}
    assert sorted(e.worker for e in exits) == sorted(names)


@pytest.mark.parametrize(
    ("workers", "system"),
    [
        (SlurmWorkers(kind="slurm", count=2), Slurm),
        (LsfWorkers(kind="lsf", count=2), Lsf),
    ],
)
def test_jobs_of_two_pools_have_names_of_their_own(
    workers: SlurmWorkers | LsfWorkers, system: type[Slurm | Lsf], tmp_path: Path
) -> None:
    """A name finds the jobs of one pool; a worker is named after its job."""
    run_dir = RunDir.of_output(tmp_path / "out.zarr")
    names = set()
    for task in ("", *NAMES):
        launcher = launcher_for(workers, run_dir, "cafe", task)
        options = shlex.split(launcher.describe().partition("<<")[0])
        (name,) = (word for word in options if "denoise-cafe" in word)
        names.add(name)
    assert len(names) == 3
    jobs = [system(workers, run_dir, "denoise-cafe", t) for t in NAMES]
    found = [w for i, job in enumerate(jobs) for w in job.workers(f"1{i}", 12)]
    assert len(set(found)) == 24
