"""Workers on another machine, and a network that breaks.

Each run ends with all bytes right, no block lost, and none computed twice but those
that were in flight.  `--partition SECONDS` cuts the wire for longer.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness import ROOT, Run, cli, short_waits, wait_until
from harness.clusters import LsfCluster
from harness.frames import FOR_EVER, GONE_SECONDS, Frames
from harness.other_machine import ADDRESSES, BOTH, HERE, THERE, Wire

PATIENT = short_waits(
    idle=100,
    manual_worker_silent=8,
    network_away=300,
    scheduler_gone=60,
    scheduler_silent=60,
)
"""Workers stay when they are idle, and the scheduler soon misses one that is gone."""


class Apart:
    """A run, its scheduler on this machine and its workers where they are started."""

    def __init__(self, it: Frames, wire: Wire) -> None:
        self.it, self.wire = it, wire
        it.env |= PATIENT
        words = (sys.executable, "-m", "denoise_daisy", "run")
        self.run = it.start(*wire.command(HERE, *words))
        wait_until((it.run_dir / "connection.json").exists, "connection.json")

    def worker(self, side: int, name: str, **faults: Any) -> Run:
        """A worker started by hand, with faults of its own if given."""
        words = (sys.executable, ROOT / "workers" / "block_worker.py", self.it.run_dir)
        env = self.it.slow | PATIENT
        if faults:
            env |= {"FAULTS": json.dumps(faults)}
        command = self.wire.command(side, *words, "--name", name)
        worker = Run(command, env, self.it.folder / f"{name}.log")
        self.it.at_end(worker)
        return worker

    def cut_while_a_block_ends(self, *sides: int) -> None:
        """Cut the wire in the middle of a block, for some time after its end."""
        self.it.wait_for_begun(1)
        self.wire.cut(*sides)
        self.it.set_seconds(0)
        self.it.wait_for_done(1)
        wait_until(lambda: any(self.wire.lost_data), "that something is lost")

    def check(self, *workers: Run, killed: Sequence[str] = ()) -> None:
        """The run and these workers end, and all is well.

        Only the blocks of those that were killed, one each, were begun twice.
        """
        self.run.finish()
        for worker in workers:
            worker.finish(GONE_SECONDS)
        done = Counter(tuple(line["block"]) for line in self.it.lines("done"))
        assert set(done.values()) == {1}
        assert self.it.blocks_begun() == len(self.it.image) + len(killed)
        self.it.check_result(killed=killed)
        verified = cli("verify", self.it.output)
        assert verified.returncode == 0, verified.stderr


@pytest.fixture
def apart(
    frames: Callable[..., Frames], lsf_cluster: LsfCluster, wire: Wire
) -> Callable[..., Apart]:
    """Makes a run whose blocks take for ever, unless told otherwise."""

    def make(count: int = 3, seconds: float = FOR_EVER, **workers: Any) -> Apart:
        given = {"count": 0, "host": ADDRESSES[HERE]} | workers
        return Apart(frames(lsf_cluster, frames=count, seconds=seconds, **given), wire)

    return make


def cut_for(wire: Wire, seconds: float) -> None:
    """Leave a wire as it is for some time: what no state tells the end of."""
    time.sleep(seconds)
    wire.cut()


@pytest.mark.parametrize("sides", [BOTH, (HERE,), (THERE,)], ids=["both", "back", "to"])
def test_a_cut_in_the_middle_of_a_block_costs_nothing(
    apart: Callable[..., Apart],
    wire: Wire,
    sides: tuple[int, ...],
    request: pytest.FixtureRequest,
) -> None:
    """Its release, or what answers it, is sent into the cut wire."""
    it = apart()
    worker = it.worker(THERE, "far")
    it.cut_while_a_block_ends(*sides)
    cut_for(wire, request.config.getoption("partition"))
    it.check(worker)


def test_a_scheduler_that_has_given_up_a_silent_worker_takes_its_block(
    apart: Callable[..., Apart], wire: Wire
) -> None:
    """As it does after two minutes without a sign."""
    it = apart()
    worker = it.worker(THERE, "far")
    it.it.wait_for_begun(1)
    wire.cut(*BOTH)
    wire.reset(HERE)
    it.cut_while_a_block_ends(*BOTH)
    wire.cut()
    it.check(worker)
    assert wire.connects > 1


@pytest.mark.parametrize("sides", [BOTH, (THERE,)], ids=["all", "theirs"])
def test_connections_that_are_reset_are_made_again(
    apart: Callable[..., Apart], wire: Wire, sides: tuple[int, ...]
) -> None:
    it = apart()
    worker = it.worker(THERE, "far")
    it.it.wait_for_begun(1)
    wire.reset(*sides)
    it.it.set_seconds(0)
    it.check(worker)
    assert wire.connects > 1


def test_an_idle_worker_that_was_cut_off_gets_a_block_that_another_has_lost(
    apart: Callable[..., Apart], wire: Wire
) -> None:
    """The wire is cut when it has nothing to do."""
    it = apart(2, 0)
    near = it.worker(HERE, "near", sleep=FOR_EVER)
    it.it.wait_for_begun(1)
    far = it.worker(THERE, "far")
    it.it.wait_for_done(1)
    wire.cut(*BOTH)
    near.process.kill()
    near.wait()
    wire.cut()
    it.check(far, killed=["near"])


def test_the_block_of_a_machine_that_is_gone_is_done_by_another(
    apart: Callable[..., Apart], wire: Wire
) -> None:
    """Once the time for a block is up, at the latest."""
    it = apart(seconds=0, block_timeout_minutes=0.25)
    far = it.worker(THERE, "far", sleep=FOR_EVER)
    it.it.wait_for_begun(1)
    wire.cut(*BOTH)
    far.process.kill()
    far.wait()
    near = it.worker(HERE, "near")
    it.check(near, killed=["far"])


def test_a_worker_leaves_when_the_run_has_ended_while_it_was_cut_off(
    apart: Callable[..., Apart], wire: Wire
) -> None:
    """It hears nothing of the end."""
    it = apart(1)
    worker = it.worker(THERE, "far")
    it.it.wait_for_begun(1)
    wire.cut(HERE)
    it.it.set_seconds(0)
    it.check(worker)


def test_a_worker_that_starts_without_a_network_waits_for_it(
    apart: Callable[..., Apart], wire: Wire
) -> None:
    it = apart(seconds=0)
    wire.cut(*BOTH)
    worker = it.worker(THERE, "far")
    wait_until(lambda: wire.connects > 2, "three tries to connect")
    assert worker.is_alive, worker.said
    wire.cut()
    it.check(worker)


def test_a_slow_network_that_loses_packets_costs_nothing(
    apart: Callable[..., Apart], wire: Wire
) -> None:
    wire.delay, wire.loss = 0.3, 0.05
    it = apart(6, 0.5)
    it.check(it.worker(THERE, "far"), it.worker(THERE, "farther"))
