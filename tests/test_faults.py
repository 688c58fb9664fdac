"""Whatever is hit, at whatever time: nothing done is lost, and the bytes are right.

Real runs of the real program in real processes, hit by real signals, full disks and
damaged files.  Every test ends with a plain start after which the output is that of
ndsafir on the whole image, bit for bit, `verify` agrees, and nothing is left over:
no process, no partial file.  `docs/faults.md` is this file as a table.

Two false greens are ruled out.  A signal that came after the last block would hit
nothing: blocks are slowed down, and tests wait until a block is seen in work.  A run
that computes everything again would give the right bytes, too: the start of every
denoising is noted in a file, by a hook in ndsafir's own function, and counted.
"""

import fcntl
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zarr
from demo_czi import write_czi
from support import (
    cli,
    config_for,
    ledger_lines,
    load,
    output_of,
    small_image,
    start,
    whole_image,
    write_config,
)

from denoise_daisy import run
from denoise_daisy.errors import RefusedError
from denoise_daisy.rundir import find
from denoise_daisy.verification import verify

MARK = 40_000
"""Grey level at the centre of block 0; that of block i is i more."""

BLOCKS = (4, 3)
"""Blocks along y and x, of 32 x 32 voxels."""

ALL = set(range(12))

ORPHANS_LEAVE = 60
"""Seconds from the scheduler's death to that of its last worker."""

HOOK = f'''
"""Faults on demand in worker processes; Python imports this file by itself."""
import json
import os
import resource
import signal
import sys
import time

FAULTS = json.loads(os.environ["FAULTS"])


def fail(kind, function, image, options):
    if kind == "exception":
        raise ValueError("this block is bad")
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exit":
        os._exit(9)
    if kind == "lost":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "timeout":
        time.sleep(1000)
    if kind == "memory":
        limits = resource.getrlimit(resource.RLIMIT_AS)
        image = image.repeat(16, 3).repeat(16, 4)
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size, limits[1]))
        try:
            return function(image, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
    raise AssertionError(kind)


def hook():
    import ndsafir

    function = ndsafir.denoise_poisson_gaussian
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    evidence = os.open(FAULTS["evidence"], flags, 0o644)

    def faulty(image, **options):
        block = int(image.max()) - {MARK}
        os.write(evidence, f"{{block}} {{os.getpid()}}\\n".encode())
        time.sleep(FAULTS.get("sleep", 0))
        kind = FAULTS.get("fail", {{}}).get(str(block)) or FAULTS.get("fail all")
        if kind:
            return fail(kind, function, image, options)
        return function(image, **options)

    ndsafir.denoise_poisson_gaussian = faulty


if "denoise_daisy.worker" in sys.orig_argv:
    clocks = FAULTS.get("clocks")
    if clocks and "LD_PRELOAD" not in os.environ:
        os.environ["LD_PRELOAD"] = FAULTS["libfaketime"]
        os.environ["FAKETIME"] = clocks[os.getpid() % len(clocks)]
        os.execv(sys.executable, sys.orig_argv)
    if FAULTS.get("no engine"):
        sys.modules["ndsafir"] = None
    else:
        hook()
elif "denoise_daisy" in sys.orig_argv and FAULTS.get("killed at unlink"):
    unlink, left = os.unlink, [FAULTS["killed at unlink"]]

    def last_unlink(path, **options):
        unlink(path, **options)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_deletion(event, _):
        if event == "shutil.rmtree":
            os.unlink = last_unlink

    sys.addaudithook(watch_deletion)
'''


class Trial:
    """A run with faults: its folder, its config, and what was computed so far."""

    def __init__(self, folder: Path, source: Path, **sections: Any) -> None:
        self.folder = folder
        self.output = folder / "disk" / "out.zarr"
        self.run_dir = folder / "disk" / "out.zarr.run"
        self.evidence = folder / "evidence"
        self.size = 12
        (folder / "hook").mkdir(parents=True)
        (folder / "hook" / "sitecustomize.py").write_text(HOOK)
        (folder / "disk").mkdir()
        self.source = Path(shutil.copy2(source, folder / "in.czi"))
        defaults: dict[str, Any] = {
            "output": {"dtype": "float32", "chunks": {"y": 16, "x": 16}},
            "blocks": {"shape": {"y": 32, "x": 32}},
        }
        self.config = config_for(self.source, self.output, **defaults)
        self.change(**sections)

    def change(self, **sections: Any) -> None:
        """Change the config file."""
        for name, values in sections.items():
            self.config[name] = self.config.get(name, {}) | values
        self.path = write_config(self.folder / "config.json", self.config)

    def env(self, faults: dict[str, Any]) -> dict[str, str]:
        path = [str(self.folder / "hook"), os.environ.get("PYTHONPATH", "")]
        faults = faults | {"evidence": str(self.evidence)}
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "FAULTS": json.dumps(faults),
        }

    def cli(self, *words: str | Path, **faults: Any) -> subprocess.CompletedProcess:
        return cli(*words, env=self.env(faults), timeout=120)

    def run(self, *options: str, **faults: Any) -> subprocess.CompletedProcess:
        """A run, to its end."""
        return self.cli("run", self.path, *options, **faults)

    @contextmanager
    def running(self, *options: str, **faults: Any) -> Iterator[subprocess.Popen]:
        """A run in the background; nothing of it is left afterwards."""
        env = self.env(faults)
        with start("run", self.path, *options, env=env) as process:
            try:
                yield process
            finally:
                process.kill()
                for other in self.processes():
                    other.kill()

    def processes(self, kind: str = "denoise_daisy") -> list[psutil.Process]:
        """What is alive of this run."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if kind in words and any(str(self.folder) in word for word in words):
                found.append(process)
        if kind == "denoise_daisy":
            found += self.processes("denoise_daisy.worker")
        return found

    def workers(self) -> list[psutil.Process]:
        return self.processes("denoise_daisy.worker")

    def begun(self) -> list[tuple[int, int]]:
        """Every denoising that was begun: block and process."""
        lines = self.evidence.read_text().splitlines() if self.evidence.exists() else []
        return [tuple(map(int, line.split())) for line in lines]

    def executions(self) -> Counter[int]:
        """How often the denoising of each block was begun."""
        return Counter(block for block, _ in self.begun())

    def lines(self, status: str) -> list[dict[str, Any]]:
        return [line for line in ledger_lines(self.output) if line["status"] == status]

    def done(self) -> list[int]:
        """Blocks as the ledger has them, one for each line."""
        return sorted(flat(line["block"]) for line in self.lines("done"))

    def in_flight(self, count: int = 2) -> None:
        """Wait until that many blocks were begun."""
        wait_until(lambda: len(self.begun()) >= count, f"{count} blocks are begun")

    def shard(self, block: int) -> Path:
        """The file of a block's output."""
        return self.output.joinpath("0/c/0/0/0", *map(str, divmod(block, BLOCKS[1])))

    def partials(self) -> list[Path]:
        return sorted((self.folder / "disk").rglob("*.partial"))

    def log(self) -> str:
        return (self.run_dir / "logs" / "scheduler.log").read_text()

    def finish(self, expected: np.ndarray | None = None) -> list[int]:
        """A plain start, after which all must be well; the blocks that it computed."""
        before = len(self.begun())
        end = self.run()
        assert end.returncode == 0, end.stderr
        assert self.processes() == []
        assert self.partials() == []
        expected = oracle() if expected is None else expected
        np.testing.assert_array_equal(output_of(self.output), expected)
        said = verify(find(self.output))
        assert f"All {self.size} blocks are as they were written" in said
        return sorted(block for block, _ in self.begun()[before:])


def flat(index: list[int]) -> int:
    return index[2] * BLOCKS[1] + index[3]


def index(block: int) -> list[int]:
    return [0, 0, *divmod(block, BLOCKS[1])]


def marked_image() -> np.ndarray:
    """An image of 12 blocks, each of which has its number at its centre."""
    image = small_image((1, 1, 2, 128, 96))
    image[0, 0, :, 16::32, 16::32] = MARK + np.arange(12).reshape(BLOCKS)
    return image


@functools.cache
def oracle(**denoise: Any) -> np.ndarray:
    config = config_for(Path(), Path(), denoise=denoise)
    return whole_image(marked_image(), config)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Not within {seconds} s: {what}."
        time.sleep(0.02)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_czi(tmp_path_factory.mktemp("source") / "in.czi", marked_image())


# Most of a fault is waiting: for a timeout, for orphans to leave.  Such tests run side
# by side, and each reports its own result.

Scenario = Callable[..., None]
BESIDE: list[tuple[Scenario, tuple]] = []


def beside(*cases: tuple) -> Callable[[Scenario], Callable]:
    """Run a test beside others, once or for each of these cases."""

    def decorate(scenario: Scenario) -> Callable:
        BESIDE.extend((scenario, case) for case in cases or [()])
        if not cases:

            def test(scenarios: Callable) -> None:
                scenarios(scenario, ())

        else:
            names = ["-".join(map(str, case)) for case in cases]

            @pytest.mark.parametrize("case", cases, ids=names)
            def test(case: tuple, scenarios: Callable) -> None:
                scenarios(scenario, case)

        test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
        return test

    return decorate


@pytest.fixture(scope="module")
def scenarios(
    request: pytest.FixtureRequest,
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Scenario, tuple], None]]:
    chosen = {item.originalname for item in request.session.items}

    def play(scenario: Scenario, case: tuple) -> None:
        scenario(Trial(tmp_path_factory.mktemp("trial") / "trial", source), *case)

    with ThreadPoolExecutor(4) as pool:
        futures = {
            (scenario, case): pool.submit(play, scenario, case)
            for scenario, case in BESIDE
            if scenario.__name__ in chosen
        }
        yield lambda scenario, case: futures[scenario, case].result()
        for future in futures.values():
            future.cancel()


# The scheduler


@beside()
def test_blocks_in_flight_are_recorded_when_the_scheduler_is_killed(
    trial: Trial,
) -> None:
    with trial.running(sleep=4) as scheduler:
        trial.in_flight()
        scheduler.kill()
        scheduler.wait()
        assert len(trial.workers()) == 2
        wait_until(lambda: not trial.workers(), "workers leave", ORPHANS_LEAVE)
    assert trial.done() == sorted(trial.executions()) == [0, 1]
    assert trial.finish() == sorted(ALL - {0, 1})
    assert f"Took over from process {scheduler.pid}" in trial.log()


@beside()
def test_workers_in_a_long_block_leave_within_a_minute_of_the_schedulers_death(
    trial: Trial,
) -> None:
    with trial.running(sleep=600) as scheduler:
        trial.in_flight()
        scheduler.kill()
        scheduler.wait()
        wait_until(lambda: not trial.workers(), "workers leave", ORPHANS_LEAVE)
    assert trial.done() == []
    assert trial.finish() == sorted(ALL)


@beside()
def test_workers_leave_even_if_their_part_of_the_run_directory_is_gone(
    trial: Trial,
) -> None:
    with trial.running(sleep=600) as scheduler:
        trial.in_flight()
        shutil.rmtree(trial.run_dir / "workers")
        time.sleep(6)
        scheduler.kill()
        scheduler.wait()
        wait_until(lambda: not trial.workers(), "workers leave", ORPHANS_LEAVE)
    assert trial.finish() == sorted(ALL)


@beside()
def test_workers_leave_a_frozen_scheduler_which_then_goes_on(trial: Trial) -> None:
    with trial.running(sleep=1) as scheduler:
        trial.in_flight(4)
        scheduler.send_signal(signal.SIGSTOP)
        wait_until(lambda: not trial.workers(), "workers leave", ORPHANS_LEAVE)
        second = trial.run()
        assert second.returncode == 4
        assert f"process {scheduler.pid} on " in second.stderr
        scheduler.send_signal(signal.SIGCONT)
        _, said = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 0, said
    assert trial.executions() == Counter(ALL)
    assert trial.finish() == []


@beside()
def test_workers_of_a_killed_scheduler_do_no_block_of_the_next(trial: Trial) -> None:
    """They would come on top of the next one's, more than there is memory for."""
    with trial.running(sleep=5) as scheduler:
        trial.in_flight()
        old = {process for _, process in trial.begun()}
        scheduler.kill()
        scheduler.wait()
        assert len(trial.workers()) == 2
        end = trial.run(sleep=1)
        assert end.returncode == 0, end.stderr
        assert Counter(p for _, p in trial.begun() if p in old) == Counter(old)
        wait_until(lambda: not trial.workers(), "workers leave", ORPHANS_LEAVE)
    assert trial.finish() == []


@beside(("SIGINT", "group"), ("SIGTERM", "process"))
def test_a_first_signal_lets_the_blocks_in_flight_finish(
    trial: Trial, name: str, whom: str
) -> None:
    """To the group: as Ctrl-C in a terminal and a batch system's end do it."""
    number = signal.Signals[name]
    with trial.running(sleep=3) as scheduler:
        trial.in_flight()
        (os.killpg if whom == "group" else os.kill)(scheduler.pid, number)
        said, errors = scheduler.communicate(timeout=30)
        assert trial.processes() == []
    assert scheduler.returncode == 128 + number, errors
    assert f"Stopped by {name}" in errors
    assert "Traceback (most recent" not in errors
    assert "2 blocks done, 0 skipped (done before), 0 failed, 10 left" in said
    assert trial.done() == sorted(trial.executions()) == [0, 1]
    assert trial.finish() == sorted(ALL - {0, 1})


@beside(("SIGINT",))
def test_a_second_signal_ends_the_run_at_once(trial: Trial, name: str) -> None:
    number = signal.Signals[name]
    with trial.running(sleep=600) as scheduler:
        trial.in_flight()
        scheduler.send_signal(number)
        time.sleep(2)
        assert scheduler.poll() is None
        scheduler.send_signal(number)
        _, errors = scheduler.communicate(timeout=15)
        assert trial.processes() == []
    assert scheduler.returncode == 128 + number, errors
    assert "Traceback (most recent" not in errors
    assert trial.finish() == sorted(ALL)


@beside()
def test_blocks_in_flight_get_no_longer_than_the_grace(trial: Trial) -> None:
    with trial.running("--grace", "2", sleep=600) as scheduler:
        trial.in_flight()
        scheduler.send_signal(signal.SIGTERM)
        _, errors = scheduler.communicate(timeout=17)
        assert trial.processes() == []
    assert scheduler.returncode == 143, errors
    assert trial.finish() == sorted(ALL)


@beside()
def test_only_blocks_in_flight_are_redone_after_the_machine_died(trial: Trial) -> None:
    """As far as that can be simulated: every process is killed in the same moment."""
    with trial.running(sleep=1) as scheduler:
        trial.in_flight(6)
        for process in [scheduler, *trial.workers()]:
            process.kill()
        scheduler.wait()
        wait_until(lambda: not trial.processes(), "all are gone", 5)
    done = trial.done()
    assert 3 <= len(done) <= 6
    assert len(trial.begun()) - len(done) <= 2
    (trial.output / "0" / "c" / "torn.partial").write_bytes(b"torn")
    assert trial.finish() == sorted(ALL - set(done))
    assert trial.done() == sorted(ALL)


# Workers


@beside(
    ("one", "SIGKILL", "lost"),
    ("one", "SIGTERM", None),
    ("all", "SIGKILL", "lost"),
    ("all", "SIGINT", None),
)
def test_workers_that_are_killed_are_replaced(
    trial: Trial, whom: str, name: str, reason: str | None
) -> None:
    with trial.running(sleep=2) as scheduler:
        trial.in_flight()
        victims = trial.workers()[: 1 if whom == "one" else 2]
        hit = [block for block, pid in trial.begun() if pid in {v.pid for v in victims}]
        for victim in victims:
            victim.send_signal(signal.Signals[name])
        _, errors = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 0, errors
    failed = trial.lines("failed")
    if reason is None:
        assert (failed, trial.executions()) == ([], Counter(ALL))
    else:
        assert sorted(flat(line["block"]) for line in failed) == sorted(hit)
        assert {line["reason"] for line in failed} == {reason}
        assert all(name in line["error"] for line in failed)
        assert trial.executions() == Counter(ALL) + Counter(hit)
    assert trial.done() == sorted(ALL)
    assert trial.finish() == []


@beside(("one", "continued"), ("one", "frozen"), ("all", "frozen"))
def test_workers_frozen_beyond_the_blocks_timeout_are_replaced(
    trial: Trial, whom: str, then: str
) -> None:
    """The keeper ends them 15 s after the timeout; one that wakes up ends itself."""
    trial.change(workers={"block_timeout_minutes": 0.1})
    with trial.running(sleep=1) as scheduler:
        trial.in_flight()
        victims = trial.workers()[: 1 if whom == "one" else 2]
        hit = [block for block, pid in trial.begun() if pid in {v.pid for v in victims}]
        for victim in victims:
            victim.send_signal(signal.SIGSTOP)
        if then == "continued":
            time.sleep(9)
            for victim in victims:
                victim.send_signal(signal.SIGCONT)
        _, errors = scheduler.communicate(timeout=90)
        assert trial.processes() == []
    assert scheduler.returncode == 0, errors
    assert set(trial.done()) == ALL
    again = trial.executions() - Counter(ALL)
    assert set(trial.executions()) == ALL
    assert set(again) <= set(hit)
    if then == "frozen":
        assert again == Counter(hit)
        # One frozen worker's block is soon another's; it may be done before the keeper
        # is sure that the first will not come back.
        reasons = [line["reason"] for line in trial.lines("failed")]
        assert reasons in ([["timeout"] * 2] if whom == "all" else [[], ["timeout"]])
    assert trial.finish() == []


@beside()
def test_a_wrong_clock_changes_nothing(trial: Trial) -> None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    faults = {"clocks": ["-3650d", "+3650d"], "libfaketime": str(found[0]), "sleep": 1}
    with trial.running(**faults) as scheduler:
        trial.in_flight(4)
        for process in [scheduler, *trial.workers()]:
            process.kill()
        scheduler.wait()
    end = trial.run(**faults)
    assert end.returncode == 0, end.stderr
    years = {int(line["time"][:4]) for line in trial.lines("done")}
    assert years <= {time.gmtime().tm_year - 10, time.gmtime().tm_year + 10}
    assert len(trial.begun()) <= 12 + 2
    assert trial.finish() == []


# Blocks that fail


@beside()
def test_a_block_that_always_fails_is_given_up_with_its_reason(trial: Trial) -> None:
    bad = {
        3: ("exception", "exception", "ValueError: this block is bad"),
        4: ("crash", "crash", "crashed with signal 11 (SIGSEGV)"),
        5: ("exit", "crash", "ended with exit code 9"),
        7: ("lost", "lost", "was killed (SIGKILL)"),
        8: ("timeout", "timeout", "took longer than 0.1 minutes"),
        9: ("memory", "memory", "blocks.memory_gib"),
    }
    trial.change(workers={"max_retries": 1, "block_timeout_minutes": 0.1})
    end = trial.run(fail={str(block): kind for block, (kind, *_) in bad.items()})
    assert end.returncode == 3, end.stderr
    assert "6 of 12 blocks of denoise failed for good" in end.stderr
    assert "Traceback (most recent" not in end.stderr
    assert trial.executions() == Counter(ALL) + Counter(bad.keys())
    assert trial.done() == sorted(ALL - bad.keys())
    status = trial.cli("status", trial.output).stdout
    assert "6 done, 6 failed, 0 left of 12" in status
    for block, (_, reason, said) in bad.items():
        failed = [x for x in trial.lines("failed") if flat(x["block"]) == block]
        assert [x["reason"] for x in failed] == [reason] * 2, failed
        assert len({x["worker"] for x in failed}) == 2
        assert len({pid for b, pid in trial.begun() if b == block}) == 2
        (line,) = (x for x in end.stderr.splitlines() if str(index(block)) in x)
        assert reason in line
        assert said in line
        assert f"failed: block {index(block)}" in status
    checked = trial.cli("verify", trial.output)
    assert checked.returncode == 5
    assert trial.finish() == sorted(bad)


@beside()
def test_a_run_whose_blocks_all_fail_stops_early(trial: Trial) -> None:
    end = trial.run(**{"fail all": "exception", "sleep": 0.2})
    assert end.returncode == 5, end.stderr
    assert "ValueError: this block is bad" in end.stderr
    assert "Traceback (most recent" not in end.stderr
    assert 10 <= len(trial.begun()) < 24
    assert trial.processes() == []
    assert trial.finish() == sorted(ALL)


@beside()
def test_a_run_whose_workers_can_not_start_stops(trial: Trial) -> None:
    end = trial.run(**{"no engine": True})
    assert end.returncode == 5, end.stderr
    assert "No worker can be kept alive" in end.stderr
    assert "import of ndsafir halted" in end.stderr
    assert trial.processes() == []
    assert trial.finish() == sorted(ALL)


# Disks


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of its own, whose options can be changed."""

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    try:
        mount(f"size={size}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@beside()
def test_a_full_disk_stops_the_run_which_goes_on_once_there_is_room(
    trial: Trial,
) -> None:
    with tmpfs(trial.output.parent, "120k") as remount:
        end = trial.run(sleep=0.2)
        assert end.returncode == 5, end.stderr
        assert "disk is full" in end.stderr
        assert "Traceback (most recent" not in end.stderr
        done = trial.done()
        assert 0 < len(done) < 12
        assert trial.processes() == []
        still = trial.run()
        assert still.returncode in (2, 5), still.stderr
        assert "Traceback (most recent" not in still.stderr
        done = trial.done()
        remount("size=8m")
        assert trial.finish() == sorted(ALL - set(done))
        assert trial.done() == sorted(ALL)


@beside()
def test_a_full_disk_under_the_ledger_alone_stops_the_run(trial: Trial) -> None:
    (trial.folder / "ledger").mkdir()
    with tmpfs(trial.folder / "ledger", "4k") as remount:
        trial.run_dir.joinpath("ledger").mkdir(parents=True)
        trial.run_dir.joinpath("ledger/denoise").symlink_to(trial.folder / "ledger")
        end = trial.run(sleep=0.2)
        assert end.returncode == 5, end.stderr
        assert "No space left" in end.stderr
        assert "Traceback (most recent" not in end.stderr
        done = trial.done()
        assert 0 < len(done) < 12
        remount("size=1m")
        assert trial.finish() == sorted(ALL - set(done))
        assert trial.done() == sorted(ALL)


@beside()
def test_a_disk_that_becomes_read_only_stops_the_run(trial: Trial) -> None:
    output = str(trial.output)
    with trial.running(sleep=1) as scheduler:
        trial.in_flight(4)
        bind = subprocess.run(
            ["mount", "--bind", output, output], check=False, capture_output=True
        )
        if bind.returncode:
            pytest.skip("mounting needs root")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", output], check=True)
            _, errors = scheduler.communicate(timeout=60)
            assert scheduler.returncode == 5, errors
            assert "read-only" in errors.lower()
            assert "Traceback (most recent" not in errors
            again = trial.run()
            assert again.returncode == 2, again.stderr
            assert "can't be written" in again.stderr
            assert trial.processes() == []
        finally:
            subprocess.run(["umount", "-l", output], check=True)
    done = trial.done()
    assert 2 <= len(done) < 12
    assert trial.finish() == sorted(ALL - set(done))


# A finished run whose files are damaged


@beside()
def test_verify_finds_every_damage_and_the_next_run_repairs_just_that(
    trial: Trial,
) -> None:
    assert trial.run().returncode == 0
    trial.shard(1).unlink()
    size = trial.shard(3).stat().st_size
    for block, position in ((3, size // 2), (4, -1), (5, 0)):
        data = bytearray(trial.shard(block).read_bytes())
        data[position] ^= 0x10
        trial.shard(block).write_bytes(data)
    trial.shard(6).write_bytes(trial.shard(6).read_bytes()[: size // 2])
    trial.shard(7).write_bytes(b"")
    shutil.copy(trial.shard(10), trial.shard(8))
    damaged = [1, 3, 4, 5, 6, 7, 8]
    checked = trial.cli("verify", trial.path)
    assert checked.returncode == 3, checked.stderr
    assert "7 of 12 blocks are not what was written" in checked.stderr
    assert "Traceback (most recent" not in checked.stderr
    named = [b for b in sorted(ALL) if f"block {index(b)}: " in checked.stderr]
    assert named == damaged
    assert "0/c/0/0/0/0/1 is missing" in checked.stderr
    status = trial.cli("status", trial.run_dir).stdout
    assert "5 done, 7 failed, 0 left of 12" in status
    assert all(f"failed: block {index(block)}" in status for block in damaged)
    assert trial.finish() == damaged


@beside()
def test_torn_and_truncated_ledger_files_cost_their_lost_lines_only(
    trial: Trial,
) -> None:
    trial.change(workers={"count": 1})
    assert trial.run().returncode == 0
    (file,) = trial.run_dir.glob("ledger/denoise/local-*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 12
    file.write_bytes(b"".join(lines[:9]) + lines[9][:-20])
    status = trial.cli("status", trial.output).stdout
    assert "9 done, 0 failed, 3 left" in status
    assert f"ledger lines left out: {file.name}" in status
    assert trial.finish() == [9, 10, 11]
    assert f"{file.name} has lines that are torn" in trial.log()


@beside()
def test_a_lost_ledger_file_costs_its_blocks_only(trial: Trial) -> None:
    assert trial.run(sleep=0.3).returncode == 0
    file, *others = sorted(trial.run_dir.glob("ledger/denoise/local-*.jsonl"))
    assert others
    lost = sorted(flat(json.loads(x)["block"]) for x in file.read_text().splitlines())
    assert 0 < len(lost) < 12
    file.unlink()
    assert trial.finish() == lost
    shutil.rmtree(trial.run_dir / "ledger")
    assert trial.finish() == sorted(ALL)


@beside()
def test_garbage_in_the_ledgers_folder_is_left_out(trial: Trial) -> None:
    assert trial.run().returncode == 0
    folder = trial.run_dir / "ledger" / "denoise"
    good = trial.lines("done")[0]
    (folder / "noise.jsonl").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "lines.jsonl").write_bytes(b"\n\n\n")
    (folder / "old.jsonl.bak").write_bytes(b"{}\n")
    (folder / "a folder.jsonl").mkdir()
    odd = [
        3,
        None,
        [],
        {},
        good | {"block": [9, 9, 9, 9]},
        good | {"block": [0, 0, -1, 0]},
        good | {"block": [0, 0]},
        good | {"block": "0000"},
        good | {"shape": [0, 0, 0, 0]},
        good | {"shape": [1, 2]},
        good | {"epoch": "1"},
        good | {"status": None, "block": None},
    ]
    text = "".join(json.dumps(value) + "\n" for value in odd)
    (folder / "odd.jsonl").write_text(text)
    (lost,) = {flat(good["block"])}
    for file in folder.glob("local-*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        kept = [x for x in lines if json.loads(x)["block"] != good["block"]]
        file.write_text("".join(kept))
    status = trial.cli("status", trial.output)
    assert status.returncode == 0, status.stderr
    assert "11 done, 0 failed, 1 left" in status.stdout
    assert "ledger lines left out: noise.jsonl" in status.stdout
    assert "ledger lines left out: odd.jsonl" in status.stdout
    assert trial.finish() == [lost]


@beside(("zarr.json",), ("0/zarr.json",))
def test_damaged_metadata_is_refused_or_repaired(trial: Trial, name: str) -> None:
    assert trial.run().returncode == 0
    file = trial.output / name
    good = file.read_bytes()
    for bad in (good[: len(good) // 2], b""):
        file.write_bytes(bad)
        for words in (("verify", trial.output), ("run", trial.path)):
            end = trial.cli(*words)
            assert end.returncode != 1, end.stderr
            assert "Traceback (most recent" not in end.stderr
    file.write_bytes(good)
    assert trial.finish() == []


@beside()
def test_an_output_or_a_record_that_is_gone_is_refused(trial: Trial) -> None:
    assert trial.run().returncode == 0
    trial.output.rename(trial.folder / "elsewhere")
    end = trial.run()
    assert end.returncode == 4, end.stderr
    assert "recorded as done" in end.stderr
    (trial.folder / "elsewhere").rename(trial.output)
    record = trial.run_dir / "run.json"
    text = record.read_text()
    record.unlink()
    end = trial.run()
    assert end.returncode == 4, end.stderr
    record.write_text(text[:100])
    end = trial.run()
    assert end.returncode == 4, end.stderr
    assert "Traceback (most recent" not in end.stderr
    record.write_text(text)
    assert trial.finish() == []


# Another config, another input

CHANGES: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "input.roi": (
        "input.roi",
        [[0, 1], [0, 2], [0, 128], [0, 96]],
        [[0, 1], [0, 2], [0, 64], [0, 96]],
        {"input": {"roi": {"y": [0, 64]}}},
    ),
    "input.channels": ("input.channels", None, [0], {"input": {"channels": [0]}}),
    "output.dtype": (
        "output.dtype",
        "float32",
        "uint16",
        {"output": {"dtype": "input"}},
    ),
    "output.chunks": (
        "output.chunks",
        [1, 1, 2, 16, 16],
        [1, 1, 2, 32, 16],
        {"output": {"chunks": {"y": 32, "x": 16}}},
    ),
    "output.shards": (
        "output.shards",
        [1, 1, 2, 32, 32],
        [1, 1, 2, 16, 32],
        {"output": {"shards": {"y": 16, "x": 32}}},
    ),
    "no shards": (
        "output.shards",
        [1, 1, 2, 32, 32],
        None,
        {"output": {"shards": None}},
    ),
    "compression": (
        "output.compression_level",
        1,
        2,
        {"output": {"compression_level": 2}},
    ),
    "patch": (
        "denoise.patch",
        [0, 0, 1, 1],
        [0, 0, 2, 1],
        {"denoise": {"patch": {"y": 2, "x": 1}}},
    ),
    "active_dimensions": (
        "denoise.active_dimensions",
        "zyx",
        "yx",
        {"denoise": {"active_dimensions": "yx"}},
    ),
    "max_iter": ("denoise.max_iter", 2, 3, {"denoise": {"max_iter": 3}}),
    "pvalue": ("denoise.pvalue", 0.1, 0.2, {"denoise": {"pvalue": 0.2}}),
    "noise.kind": (
        "noise.kind",
        "poisson-gaussian",
        "gaussian",
        {"noise": {"kind": "gaussian", "noise_std": 30.0}},
    ),
    "gains": (
        "noise.gains",
        [3.92],
        [4.0],
        {"noise": {"kind": "poisson-gaussian", "gains": [4.0], "offsets": [-367.0]}},
    ),
    "offsets": (
        "noise.offsets",
        [-367.0],
        [-300.0],
        {"noise": {"kind": "poisson-gaussian", "gains": [3.92], "offsets": [-300.0]}},
    ),
    "threads": (
        "workers.threads_per_worker",
        None,
        2,
        {"workers": {"threads_per_worker": 2}},
    ),
    "context": ("exact", True, False, {"blocks": {"context": {"y": 2}}}),
}
"""Name in the fingerprint, its old and its new value, and the sections to change."""


@beside()
def test_a_changed_setting_is_refused_with_its_old_and_new_value(trial: Trial) -> None:
    assert trial.run().returncode == 0
    good, files = trial.config, contents(trial)
    for field, old, new, sections in CHANGES.values():
        changed = {
            name: good.get(name, {}) | sections.get(name, {})
            if name != "noise"
            else sections.get("noise", good["noise"])
            for name in good
        }
        with pytest.raises(RefusedError) as error:
            run(load(changed))
        assert f"{field} was {old!r}, is {new!r}" in str(error.value)
        assert "--overwrite" in str(error.value)
    record = json.loads((trial.run_dir / "run.json").read_text())
    known = {name for name in record["fingerprint"] if not name.startswith("input ")}
    not_changed = {
        "ndsafir",
        "algorithm",
        "denoise.kind",
        "input.scene",
        "noise.noise_std",
    }
    assert known - not_changed <= {field for field, *_ in CHANGES.values()}
    write_config(trial.path, good | {"denoise": good["denoise"] | {"max_iter": 3}})
    for words in (("run", trial.path), ("plan", trial.path)):
        end = trial.cli(*words)
        assert end.returncode == 4, end.stderr
        assert "denoise.max_iter was 2, is 3" in end.stderr
        assert "Traceback (most recent" not in end.stderr
    assert contents(trial) == files
    write_config(trial.path, good)
    assert trial.finish() == []


@beside(("ndsafir", "2020.1"), ("algorithm", 0))
def test_another_version_is_refused(trial: Trial, name: str, version: Any) -> None:
    assert trial.run().returncode == 0
    file = trial.run_dir / "run.json"
    record = json.loads(file.read_text())
    ours = record["fingerprint"][name]
    record["fingerprint"][name] = version
    file.write_text(json.dumps(record))
    end = trial.run()
    assert end.returncode == 4, end.stderr
    assert f"{name} was {version!r}, is {ours!r}" in end.stderr
    record["fingerprint"][name] = ours
    file.write_text(json.dumps(record))
    assert trial.finish() == []


@beside()
def test_settings_that_change_no_byte_may_change(trial: Trial) -> None:
    with trial.running(sleep=1) as scheduler:
        trial.in_flight(4)
        scheduler.send_signal(signal.SIGINT)
        scheduler.communicate(timeout=30)
    done = trial.done()
    trial.change(
        workers={"count": 3, "block_timeout_minutes": 9, "max_retries": 7},
        output={"durability": "none"},
    )
    trial.change(blocks={"memory_gib": 1.5})
    moved = trial.folder / "moved.czi"
    trial.source.rename(moved)
    trial.change(input={"path": str(moved)})
    assert trial.finish() == sorted(ALL - set(done))


@beside()
def test_a_changed_input_is_refused(trial: Trial) -> None:
    assert trial.run().returncode == 0
    stamp = trial.source.stat()
    kept = shutil.copy2(trial.source, trial.folder / "kept.czi")

    def refusals() -> Iterator[str]:
        for verb in ("run", "plan", "verify", "status"):
            end = trial.cli(verb, trial.path)
            assert end.returncode == 4, (verb, end.stderr)
            assert "Traceback (most recent" not in end.stderr
            yield end.stderr

    os.utime(trial.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
    assert all("mtime_ns" in said for said in refusals())
    trial.source.unlink()
    write_czi(trial.source, marked_image()[:, :, :, ::-1])
    os.utime(trial.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert all("guid" in said for said in refusals())
    shutil.copy2(kept, trial.source)
    assert trial.finish() == []


@beside()
def test_an_input_that_changes_during_the_run_stops_it(trial: Trial) -> None:
    """Workers that run read what they opened; no new one starts on another image."""
    stamp = trial.source.stat()
    with trial.running(sleep=2) as scheduler:
        trial.in_flight()
        os.utime(trial.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
        for worker in trial.workers():
            worker.kill()
        _, errors = scheduler.communicate(timeout=90)
    assert scheduler.returncode == 5, errors
    assert "has changed since the run was started" in errors
    assert trial.done() == []
    os.utime(trial.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert trial.finish() == sorted(ALL)


@beside()
def test_another_block_shape_goes_on_with_what_is_done(trial: Trial) -> None:
    """Half with 32 x 32, a part with 16 x 16, the rest with 64 x 32 voxels."""
    trial.change(output={"shards": {"y": 16, "x": 16}})
    for shape, count in ({"y": 32, "x": 32}, 5), ({"y": 16, "x": 16}, 7):
        trial.change(blocks={"shape": shape})
        trial.evidence.unlink(missing_ok=True)
        with trial.running(sleep=0.7) as scheduler:
            trial.in_flight(count)
            scheduler.send_signal(signal.SIGINT)
            _, errors = scheduler.communicate(timeout=30)
        assert scheduler.returncode == 130, errors
    covered = np.zeros((128, 96), int)
    for line in trial.lines("done"):
        y, x = (
            i * n for i, n in zip(line["block"][2:], line["shape"][2:], strict=True)
        )
        covered[y : y + line["shape"][2], x : x + line["shape"][3]] += 1
    assert covered.max() == 1
    assert {tuple(line["shape"]) for line in trial.lines("done")} == {
        (1, 2, 32, 32),
        (1, 2, 16, 16),
    }
    undone = [
        [0, 0, y, x]
        for y, x in np.ndindex(2, 3)
        if not covered[64 * y : 64 * y + 64, 32 * x : 32 * x + 32].all()
    ]
    assert 0 < len(undone) < 6
    trial.change(blocks={"shape": {"y": 64, "x": 32}})
    trial.size = 6
    before = len(trial.begun())
    trial.finish()
    assert len(trial.begun()) - before == len(undone)
    large = [line for line in trial.lines("done") if line["shape"][2] == 64]
    assert sorted(line["block"] for line in large) == undone


# Locks, and other people's folders


@beside()
def test_a_second_scheduler_is_refused(trial: Trial) -> None:
    with trial.running(sleep=3) as first:
        trial.in_flight()
        second = [
            ("run", trial.path),
            ("run", trial.path, "--overwrite"),
            ("verify", trial.output),
        ]
        with ThreadPoolExecutor() as pool:
            ends = list(pool.map(lambda words: trial.cli(*words), second))
        assert first.poll() is None
        for end in ends:
            assert end.returncode == 4, end.stderr
            assert f"process {first.pid} on {socket.gethostname()}" in end.stderr
            assert "Traceback (most recent" not in end.stderr
        _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert trial.executions() == Counter(ALL)
    assert trial.finish() == []


@beside()
def test_of_two_schedulers_started_at_once_one_runs(trial: Trial) -> None:
    with trial.running(sleep=1) as one, trial.running(sleep=1) as other:
        said = [process.communicate(timeout=60)[1] for process in (one, other)]
    assert sorted(p.returncode for p in (one, other)) == [0, 4], said
    assert trial.executions() == Counter(ALL)
    assert trial.finish() == []


@beside()
def test_another_hosts_lock_holds_until_its_heartbeat_is_old(trial: Trial) -> None:
    assert trial.run().returncode == 0
    for file in (trial.run_dir / "ledger" / "denoise").iterdir():
        file.unlink()
    lock = trial.run_dir / "lock"
    holder = {"host": "elsewhere", "pid": 1, "started": 0, "heartbeat": 0}
    lock.write_text(json.dumps(holder | {"running": True}))
    end = trial.run()
    assert end.returncode == 4, end.stderr
    assert "process 1 on elsewhere" in end.stderr
    os.utime(lock, (time.time() - 100, time.time() - 100))
    assert trial.finish() == sorted(ALL)
    assert "Took over from process 1 on elsewhere" in trial.log()


@beside()
def test_a_lock_held_by_a_process_in_the_way_is_respected(trial: Trial) -> None:
    trial.run_dir.mkdir()
    with (trial.run_dir / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = trial.run()
        assert end.returncode == 4, end.stderr
        assert "another process" in end.stderr
    assert trial.finish() == sorted(ALL)


@beside()
def test_overwrite_starts_anew(trial: Trial) -> None:
    assert trial.run().returncode == 0
    trial.change(denoise={"max_iter": 1})
    end = trial.run("--overwrite")
    assert end.returncode == 0, end.stderr
    assert trial.executions() == Counter(ALL) + Counter(ALL)
    assert trial.done() == sorted(ALL)
    assert trial.finish(oracle(max_iter=1)) == []


@beside()
def test_overwrite_is_safe_from_workers_of_the_run_before(trial: Trial) -> None:
    with trial.running(sleep=8) as scheduler:
        trial.in_flight()
        scheduler.kill()
        scheduler.wait()
        trial.change(denoise={"max_iter": 1})
        end = trial.run("--overwrite")
        assert end.returncode == 0, end.stderr
        wait_until(lambda: not trial.workers(), "old workers leave", ORPHANS_LEAVE)
    assert trial.done() == sorted(ALL)
    assert trial.finish(oracle(max_iter=1)) == []


@beside((2,), (15,))
def test_overwrite_can_be_killed_and_started_again(trial: Trial, number: int) -> None:
    """Killed when it has deleted that many files."""
    assert trial.run().returncode == 0
    killed = trial.run("--overwrite", **{"killed at unlink": number})
    assert killed.returncode == -signal.SIGKILL
    end = trial.run("--overwrite")
    assert end.returncode == 0, end.stderr
    assert trial.finish() == []


@beside()
def test_other_peoples_folders_are_never_deleted(trial: Trial) -> None:
    (trial.output / "work").mkdir(parents=True)
    (trial.output / "work" / "thesis.txt").write_text("all of it")
    for options in ((), ("--overwrite",)):
        end = trial.run(*options)
        assert end.returncode == 4, end.stderr
        assert "was not made by this program" in end.stderr
        assert [p.name for p in trial.output.rglob("*.txt")] == ["thesis.txt"]
        assert not trial.run_dir.exists()
    shutil.rmtree(trial.output)
    zarr.create_group(trial.output).create_array("0", shape=(4,), dtype="u1")
    files = contents(trial)
    for options in ((), ("--overwrite",)):
        end = trial.run(*options)
        assert end.returncode == 4, end.stderr
        assert contents(trial) == files
    shutil.rmtree(trial.output)
    assert trial.finish() == sorted(ALL)


# Strangers on the network


@beside()
def test_strangers_on_the_port_do_not_stop_the_run(trial: Trial) -> None:
    """A well-formed request for an unknown task makes Daisy's server panic."""
    stranger = (
        "import daisy, sys;"
        "daisy.Client(daisy.Context(hostname='127.0.0.1', port=int(sys.argv[1]),"
        " task_id='another', worker_id=-1, logdir='')).acquire_block().__enter__()"
    )
    noise = np.random.default_rng(1).bytes(2000)
    with trial.running(sleep=2) as scheduler:
        trial.in_flight()
        connection = json.loads((trial.run_dir / "connection.json").read_text())
        place = connection["host"], connection["port"]
        for data in (noise, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, b"\0" * 64):
            with socket.create_connection(place, timeout=5) as client:
                client.sendall(data)
        trial.in_flight(4)
        assert "ended early" not in trial.log()
        subprocess.run(
            [sys.executable, "-c", stranger, str(place[1])],
            check=False,
            capture_output=True,
            timeout=30,
        )
        _, errors = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 0, errors
    assert "Daisy's server ended early" in trial.log()
    again = trial.executions() - Counter(ALL)
    assert trial.executions().keys() == ALL
    assert sum(again.values()) <= 2, "more than the blocks in flight were redone"
    assert trial.finish() == []


@beside()
def test_status_names_no_worker_of_a_killed_run(trial: Trial) -> None:
    with trial.running(sleep=2) as scheduler:
        trial.in_flight(4)
        for process in [scheduler, *trial.workers()]:
            process.kill()
        scheduler.wait()
    done = trial.done()
    assert len(done) == 2
    with trial.running(sleep=600):
        trial.in_flight(6)
        status = trial.cli("status", trial.output).stdout
    assert "2 done, 0 failed, 10 left of 12" in status
    assert status.count(": block [") == 2, status
    assert trial.finish() == sorted(ALL - set(done))


def contents(trial: Trial) -> dict[str, bytes]:
    """Every file of the output and the run directory."""
    files = (p for p in (trial.folder / "disk").rglob("*") if p.is_file())
    return {str(p): p.read_bytes() for p in files}
