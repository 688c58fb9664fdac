"""Tasks with workers of their own: jobs of a batch system beside local ones."""

import signal
from collections.abc import Callable

from harness import ROOT, cli, processes_of, wait_until
from harness.clusters import Cluster, SlurmCluster
from harness.frames import FOR_EVER
from harness.pools import NAMES, Pools

# Pools of a run.


def test_tasks_are_done_by_their_own_jobs_and_the_rest_by_local_workers(
    cluster: Cluster, pools: Callable[..., Pools]
) -> None:
    """Two have a job each, one a job that is sent by hand, from the template."""
    own = {name: {"count": 1} for name in NAMES}
    it = pools(cluster, own | {"sent": {"count": 0}})

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
        "each pool at work",
    )
    assert it.done_by("sent") == []
    if isinstance(cluster, SlurmCluster):
        script = ("workers/slurm_worker.sh", str(it.run_dir), "--task", "sent")
        cluster.call("sbatch", *script, cwd=ROOT)
    else:
        names = {"DENOISE_DAISY_RUN": str(it.run_dir), "DENOISE_DAISY_TASK": "sent"}
        with (ROOT / "workers" / "lsf_worker.sh").open() as file:
            cluster.call("bsub", stdin=file, env=names)
    run.finish()
    it.check_nothing_is_left()
    it.check_result()
    workers = [set(it.done_by(name)) for name in it.workers]
    assert {w.split("-")[0] for w in workers[0] | workers[1]} == {cluster.kind}
    assert {w.split("-")[0] for w in workers[2]}.isdisjoint({cluster.kind, "local"})
    assert len(set.union(*workers)) == sum(map(len, workers))
    assert "1 workers, 1 for one, 1 for one-1, 0 for sent" in run.said


def test_killing_the_scheduler_ends_the_workers_of_all_pools(
    cluster: Cluster, pools: Callable[..., Pools]
) -> None:
    """Within a minute, and the next start goes on."""
    it = pools(cluster, {"here": None} | {n: {"count": 1} for n in NAMES}, frames=40)
    it.set_seconds(5)
    run = it.start()
    wait_until(
        lambda: all(it.done_by(name) for name in it.workers) or not run.is_alive,
        "each pool at work",
    )
    assert len(cluster.running()) == 2
    assert len(processes_of(it.run_dir)) == 3
    run.signal(signal.SIGKILL)
    run.wait()
    it.check_nothing_is_left()
    assert all(len(it.done_by(name)) < it.frames for name in it.workers)

    it.set_seconds(0)
    it.start().finish()
    it.check_nothing_is_left()
    it.check_result()


def test_waiting_jobs_of_a_killed_start_are_taken_back_whatever_the_next_one_does(
    cluster: Cluster, pools: Callable[..., Pools]
) -> None:
    """Also those of a task that is not asked for any more."""
    it = pools(cluster, {"here": None} | {name: {"count": 1} for name in NAMES})
    it.set_seconds(FOR_EVER)
    others = cluster.fill()
    run = it.start()
    wait_until(
        lambda: len(cluster.queue()) == 2 or not run.is_alive, "2 jobs in the queue"
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
