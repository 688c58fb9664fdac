"""How a worker process ends, and what becomes of a server that it can't reach."""

import errno
import logging
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import daisy
import pytest

from denoise_daisy.blockwise.process_block import UnwantedError
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import Waits
from denoise_daisy.worker import block_requester, process, visit
from denoise_daisy.worker.block_requester import Assignments, BlockRequester
from denoise_daisy.worker.loop import UnreachableError
from denoise_daisy.worker.visit import Visit
from harness import config_for, environment, load, small_czi
from harness.one_pool import eight_blocks
from harness.prepared import resolved
from harness.stand_ins import FakeTime

ENDS: dict[str, tuple[Exception, int]] = {
    "its run was replaced": (UnwantedError("another run"), 75),
    "the run is refused": (RefusedError("another image"), 4),
    "the output is gone": (OutputGoneError("/out.zarr/0"), 72),
    "the disk is full": (OSError(errno.ENOSPC, "No space left on device"), 74),
    "the quota is used up": (OSError(errno.EDQUOT, "Disk quota exceeded"), 74),
    "the scheduler is out of reach": (UnreachableError("a firewall"), 68),
    "the disk is read-only": (OSError(errno.EROFS, "Read-only file system"), 74),
}
"""What stops a worker, and with which code it says so to its scheduler."""


@pytest.mark.parametrize("name", ENDS)
def test_a_worker_says_by_its_code_what_stopped_it(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    error, code = ENDS[name]

    def work(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(process, "_work", work)
    for setting in ("read_serially", "limit_threads"):
        monkeypatch.setattr(process, setting, lambda: None)
    before = signal.getsignal(signal.SIGINT)
    try:
        with caplog.at_level(logging.INFO):
            assert process.main([str(tmp_path)]) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert str(error) in caplog.text


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["--names"], 2)])
def test_a_command_line_that_is_no_workers_ends_as_argparse_has_it(
    words: list[str], code: int
) -> None:
    command = [sys.executable, "-m", "denoise_daisy.worker", *words]
    done = subprocess.run(command, capture_output=True, env=environment(), check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)


def test_a_teardown_that_fails_is_told_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def teardown() -> NoReturn:
        raise KeyError("my own words")

    stage = replace(eight_blocks("soft"), unload=teardown)
    nobody: Any = SimpleNamespace(close=lambda: None)
    Visit(RunDir(Path("a.zarr.run")), {"soft": stage}, nobody, nobody, 1).end()
    assert "The teardown of soft failed." in caplog.text
    assert "KeyError: 'my own words'" in caplog.text


def test_a_worker_of_other_settings_than_its_schedulers_refuses(tmp_path: Path) -> None:
    """The code of a function was edited between the scheduler's start and its own."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    soft = {"kind": "smooth", "name": "soft", "sigma": {"x": 1}}
    values = config_for(source, tmp_path / "out.zarr") | {"tasks": [soft]}
    run = resolved(load(values))
    record = run.record(1)
    assert set(visit._own_stages(run, record, "")) == {"denoise", "soft"}
    other = record.stages["soft"].model_copy(update={"parameters": {}})
    with pytest.raises(RefusedError, match="What soft computes has changed"):
        visit._own_stages(run, record.with_stages({"soft": other}), "")
    with pytest.raises(RefusedError, match="no task 'hard' with workers of its own"):
        visit._own_stages(run, record, "hard")


def test_a_requester_without_a_server_is_over_and_asks_for_nothing() -> None:
    requester = BlockRequester("soft", lambda _: None, Assignments())
    requester.ask()
    assert (requester.is_over, requester.idle.is_set()) == (False, False)
    requester.run()
    assert (requester.is_over, requester.idle.is_set()) == (True, True)


@pytest.mark.parametrize("hangs", ["connecting", "asking"])
def test_a_requester_that_hangs_is_over_or_stuck_by_what_it_is_at(
    hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that can't be reached is not to be asked anew for ever."""
    time, at_it = FakeTime(), threading.Event()
    monkeypatch.setattr(block_requester, "time", time)
    monkeypatch.setattr(block_requester, "WAITS", Waits())

    def hang() -> NoReturn:
        at_it.set()
        threading.Event().wait()
        raise AssertionError

    client = SimpleNamespace(acquire_block=hang)

    def connect(_: str) -> Any:
        return hang() if hangs == "connecting" else client

    requester = BlockRequester("soft", connect, Assignments())
    requester.ask()
    requester.start()
    assert at_it.wait(60)
    states = []
    for seconds in (19, 2, 8, 2):
        time.now += seconds
        states.append((requester.is_stuck, requester.is_over))
    expected = {
        "connecting": [(False, False)] * 3 + [(False, True)],
        "asking": [(False, False)] + [(True, False)] * 3,
    }
    assert states == expected[hangs]


def test_a_block_that_comes_while_another_is_done_goes_back_to_daisy() -> None:
    """It counts as failed there, and is handed out again."""
    status = []

    class Lent:
        """What daisy.Client.acquire_block gives, once."""

        def __init__(self) -> None:
            self.block: Any = SimpleNamespace(write_roi=None, status="begun")

        def acquire_block(self) -> "Lent":
            return self

        def __enter__(self) -> Any:
            return self.block

        def __exit__(self, *_: object) -> None:
            status.append(self.block.status)
            raise RuntimeError("the server has ended")

    client: Any = Lent()
    assignments = Assignments()
    assignments._busy.acquire()
    requester = BlockRequester("soft", lambda _: client, assignments)
    requester.ask()
    requester.run()
    assert status == [daisy.BlockStatus.FAILED]


def test_what_reads_is_loaded_before_the_first_block_which_is_timed() -> None:
    code = (
        "import sys; from denoise_daisy.worker.process import use_one_core;"
        " use_one_core(); sys.exit('funlib.persistence' not in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
