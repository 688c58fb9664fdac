"""The run directory beside an output: run.json, the lock, who is at work.

OUTPUT.run/
  run.json          what the run computes, its fingerprint and versions
  lock              who runs it: host, pid, start, heartbeat
  connection.json   where the scheduler listens (readable by its owner only)
  ready.json        how many blocks of each stage are to be had just now
  ledger/STAGE/     completion ledger
  tasks/STAGE/      what stages leave for other stages only
  workers/          what each worker is doing just now
  logs/             scheduler.log, one log per worker
"""

import errno
import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.files import delete, write_atomic

RECORD_KEYS = {
    "id",
    "epoch",
    "fingerprint",
    "config",
    "block_shape",
    "layout",
    "workers",
    "threads",
    "noise",
    "stages",
    "versions",
}
"""What run.json holds."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""The disk is full, over quota or read-only."""

EXIT_DISK = 74
"""Exit code of a worker whose disk is full or read-only (EX_IOERR of sysexits.h)."""

EXIT_GONE = 72
"""Exit code of a worker that finds its output moved or deleted (EX_OSFILE)."""

EXIT_LEFT = 75
"""Exit code of a worker that left before the work was done, at no fault of any block:
its time is up, it was asked to, or its scheduler is dead (EX_TEMPFAIL)."""

EXIT_UNREACHABLE = 68
"""Exit code of a worker that can't reach its scheduler (EX_NOHOST)."""

BEAT_SECONDS = 2.0
"""Time between two heartbeats of a scheduler."""

ALIVE_SECONDS = 40.0
"""A scheduler whose last heartbeat is older is not worth to be waited for."""

EXIT_TIMEOUT = 87
"""Exit code with which Daisy's watchdog ends a worker whose block takes too long."""

STALE_SECONDS = 60
"""A lock of another host whose heartbeat is this old belongs to nobody any more."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a scheduler listens, and what a worker must know to get a block."""

    host: str
    port: int
    run_id: str
    """Unguessable, new at every start of the server."""
    epoch: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker is doing."""

    worker: str
    host: str
    pid: int
    pool: str
    """The task whose own worker it is; empty for those of the run."""
    stage: str
    """The stage of the block."""
    block: tuple[int, ...] | None
    since: float
    """When it took the block, in seconds since 1970 by its own clock."""
    peak_mib: int


class RunDir:
    """The run directory of an output."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_output(cls, output: Path) -> Self:
        """The directory beside an output.

        Raises
        ------
        InputError
            The output has no name, and so no place beside it.
        """
        if not output.name:
            raise InputError(
                f"output.path is {str(output)!r}. Expected a folder that can be made."
            )
        return cls(output.with_name(f"{output.name}.run"))

    @property
    def output(self) -> Path:
        """The output that it belongs to."""
        return self.path.with_name(self.path.name.removesuffix(".run"))

    @property
    def run_file(self) -> Path:
        """What the run computes."""
        return self.path / "run.json"

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.path / "logs"

    def ledger(self, stage: str) -> Path:
        """Folder of a stage's ledger."""
        return self.path / "ledger" / stage

    def worker_log(self, worker: str) -> Path:
        """Log file of one worker."""
        return self.logs / f"{worker}.log"

    def make(self, stages: Iterable[str]) -> None:
        """Make the folders."""
        ledgers = map(self.ledger, stages)
        for folder in (*ledgers, self.logs, self.path / "workers"):
            folder.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Delete all but the lock and run.json."""
        self.remove_connection()
        for folder in ("ledger", "tasks", "workers", "logs"):
            delete(self.path / folder)

    def set_aside(self) -> Path | None:
        """Move away what a run without run.json has recorded; where that is now."""
        left = [p for name in ("ledger", "tasks") if (p := self.path / name).exists()]
        if not any(f.is_file() for folder in left for f in folder.rglob("*")):
            return None
        aside = self.path / f"{secrets.token_hex(4)}.old"
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)
        return aside

    def read_run(self) -> dict[str, Any] | None:
        """run.json, None where no run was started here.

        Raises
        ------
        RefusedError
            The folder or its run.json is something else.
        """
        try:
            run = json.loads(self.run_file.read_text("utf-8"))
            if isinstance(run, dict) and run.keys() >= RECORD_KEYS:
                return run
            problem = "is no run.json of this program"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            problem = f"can't be read ({error})"
        raise RefusedError(
            f"{str(self.run_file)!r} {problem}. Expected the record of a run; move the"
            " folder away, or choose another output.path."
        )

    def write_run(self, run: dict[str, Any]) -> None:
        """Record what the run computes."""
        write_atomic(self.run_file, json.dumps(run, indent=2) + "\n")

    def write_connection(self, connection: Connection) -> None:
        """Tell workers where to go; only the owner can read it."""
        path = self.path / "connection.json"
        write_atomic(path, json.dumps(asdict(connection)) + "\n", mode=0o600)

    def read_connection(self) -> Connection | None:
        """Where to go; None while no scheduler is at work."""
        try:
            return Connection(**json.loads((self.path / "connection.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def remove_connection(self) -> None:
        """No scheduler is at work any more."""
        (self.path / "connection.json").unlink(missing_ok=True)

    def write_ready(self, ready: Mapping[str, int]) -> None:
        """Tell workers how many blocks of each stage are to be had, roughly."""
        partial = self.path / "ready.json.partial"
        # A full disk is for those to tell who have to write.
        with suppress(OSError):
            partial.write_text(json.dumps(ready))
            partial.replace(self.path / "ready.json")

    def read_ready(self) -> dict[str, int] | None:
        """How many blocks of each stage are to be had, in the order to ask for them."""
        try:
            ready = json.loads((self.path / "ready.json").read_text())
            return ready if isinstance(ready, dict) else None
        except (OSError, ValueError):
            return None

    def write_state(self, state: WorkerState) -> None:
        """Replace what the worker is doing; not durable, for it is of this moment."""
        path = self.path / "workers" / f"{state.worker}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(state)))
        partial.replace(path)

    def read_state(self, worker: str) -> WorkerState | None:
        """What a worker said last."""
        try:
            text = (self.path / "workers" / f"{worker}.json").read_text()
            values = json.loads(text)
            if values["block"] is not None:
                values["block"] = tuple(values["block"])
            return WorkerState(**values)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def scheduler_is_alive(self, worker: str) -> bool:
        """Whether a scheduler has shown a heartbeat lately.

        The time of the worker's own state file, just written, is the file server's.
        """
        holder = self.read_lock()
        if not holder or not holder.get("running"):
            return False
        beat = (self.path / "lock").stat().st_mtime
        return self.state_shown(worker) - beat < ALIVE_SECONDS

    def read_states(self) -> list[WorkerState]:
        """What all workers said last."""
        names = (p.stem for p in sorted((self.path / "workers").glob("*.json")))
        return [state for name in names if (state := self.read_state(name))]

    def state_shown(self, worker: str) -> float:
        """When a worker wrote its state last, by the file server's clock."""
        try:
            return (self.path / "workers" / f"{worker}.json").stat().st_mtime
        except OSError:
            return 0.0

    def remove_states(self) -> None:
        """Forget workers of earlier starts; those that live show themselves anew."""
        for state in self.read_states():
            self.remove_state(state.worker)

    def remove_state(self, worker: str) -> None:
        """The worker is gone."""
        (self.path / "workers" / f"{worker}.json").unlink(missing_ok=True)

    def read_lock(self) -> dict[str, Any] | None:
        """Who holds, or held, the lock."""
        try:
            holder = json.loads((self.path / "lock").read_text())
            return holder if isinstance(holder, dict) else None
        except (OSError, ValueError):
            return None


class Lock:
    """One scheduler per output, on whatever file system.

    The kernel's lock on the file tells of schedulers on this host, and on others where
    the file system passes locks on; a heartbeat in the file tells of the rest.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.path / "lock"
        self._started = time.time()
        self.taken_from: str | None = None
        """Who held the lock and is dead."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take(run_dir.read_lock())
        except BaseException:
            os.close(self._fd)
            raise
        # In a thread of its own: a batch system's commands can take a minute, and
        # workers leave a scheduler that shows no heartbeat.
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, daemon=True)
        self._heart.start()

    def _take(self, holder: dict[str, Any] | None) -> None:
        who = ""
        if holder:
            who = f"process {holder.get('pid')} on {holder.get('host')}"
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise self._refusal(who or "another process") from error
        except OSError:
            # A file system without locks: process number and heartbeat must do.
            here = holder and holder.get("host") == platform.node()
            if holder and here and psutil.pid_exists(holder.get("pid", -1)):
                raise self._refusal(who) from None
        if holder and holder.get("running"):
            elsewhere = holder.get("host") != platform.node()
            if elsewhere and self._age() < STALE_SECONDS:
                raise self._refusal(who)
            self.taken_from = who
        self._beat(running=True)

    def _keep_beating(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            # A disk that is full or away for a while must not stop the heart.
            with suppress(OSError):
                self._beat(running=True)

    def _age(self) -> float:
        """Seconds since the last heartbeat, by the file server's clock."""
        probe = self._path.with_name(f"lock.{secrets.token_hex(4)}.partial")
        try:
            probe.touch()
            return probe.stat().st_mtime - os.fstat(self._fd).st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _refusal(self, who: str) -> RefusedError:
        return RefusedError(
            f"A scheduler is at work on this output already: {who} ({self._path})."
            " Expected one at a time; wait for it or stop it (Ctrl-C, kill)."
        )

    def _beat(self, *, running: bool) -> None:
        """Show that the holder lives, by the time in the file."""
        now = time.time()
        holder = {
            "host": platform.node(),
            "pid": os.getpid(),
            "started": round(self._started, 3),
            "heartbeat": round(now, 3),
            "running": running,
        }
        text = json.dumps(holder).ljust(200) + "\n"
        os.pwrite(self._fd, text.encode(), 0)

    def release(self) -> None:
        """Let the next scheduler in."""
        self._released.set()
        self._heart.join()
        try:
            self._beat(running=False)
        finally:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def find(path: Path) -> RunDir:
    """The run directory that a path stands for: itself, or that of an output.

    Raises
    ------
    InputError
        The path is neither.
    """
    path = path.absolute()
    candidates = (RunDir(path), RunDir.of_output(path)) if path.name else ()
    for candidate in candidates:
        if candidate.run_file.is_file():
            return candidate
    raise InputError(
        f"{str(path)!r} is no run directory and no output of a run. Expected a config"
        " file, an output (….zarr) or its run directory (….zarr.run)."
    )
