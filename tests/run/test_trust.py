"""Who gets blocks, and what a client may claim; a thousand that only look on."""

import contextlib
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import daisy
import numpy as np
import psutil

from denoise_daisy.machine import raise_file_limit
from denoise_daisy.scheduling.daisy_server import BlockServer
from denoise_daisy.scheduling.stage_state import Verdict
from denoise_daisy.tasks.denoise import DENOISE
from harness import (
    config_for,
    load,
    small_czi,
    wait_until,
)
from harness.frames import Frames
from harness.prepared import resolved
from harness.waiting import short_waits

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
if client.connected:
    print("connected", flush=True)
for _ in range(3):
    with client.acquire_block() as block:
        if block is None:
            break
        print("got", block.block_id, flush=True)
"""


def forge(it: Frames, run_id: str = "") -> str:
    """What a client says that takes three blocks and claims they are done."""
    connection = str(it.run_dir / "connection.json")
    return subprocess.run(
        [sys.executable, "-c", FORGER, connection, run_id],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    ).stdout


def test_blocks_that_a_client_only_claims_to_have_done_are_done(
    frames: Callable[..., Frames],
) -> None:
    it = frames(None, frames=5, seconds=600, kind="local", count=1)
    it.env = it.env | short_waits(ledger_lag=3)
    run = it.start()
    it.wait_for_begun(1)
    mode = (it.run_dir / "connection.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert forge(it).count("got") == 3
    it.set_seconds(0)
    run.finish()
    it.check_result()


def test_a_client_of_another_run_gets_no_block(frames: Callable[..., Frames]) -> None:
    it = frames(None, frames=2, seconds=600, kind="local", count=1)
    run = it.start()
    it.wait_for_begun(1)
    assert forge(it, run_id=secrets.token_hex(16)) == "connected\n"
    it.set_seconds(0)
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
    run = resolved(load(config))
    assert run.denoising.grid.size == 20
    server = BlockServer(
        run.stages[:1],
        {DENOISE: np.zeros(20, bool)},
        lambda *_: Verdict.HAND_OUT,
        timeout_seconds={DENOISE: 600},
        host="127.0.0.1",
    )
    task = f"{DENOISE}.{server.run_id}"
    command = [sys.executable, "-c", IDLERS, str(server.port), task, "250"]
    with contextlib.ExitStack() as stack:
        said = []
        for _ in range(4):
            pipe = subprocess.PIPE
            idler = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe)
            stack.enter_context(idler)
            stack.callback(idler.kill)
            assert idler.stdout is not None
            said.append(idler.stdout)
        assert [stdout.readline() for stdout in said] == ["250\n"] * 4
        wait_until(lambda: connections_to(server.port) >= 1000, "1000 accepted")
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
        assert time.monotonic() - began < 60
        server.join()
        wait_until(lambda: not server.is_alive, "the server has ended")
    assert server.error is None


def connections_to(port: int) -> int:
    mine = psutil.Process().net_connections("tcp")
    return sum(c.laddr.port == port and c.status == "ESTABLISHED" for c in mine)
