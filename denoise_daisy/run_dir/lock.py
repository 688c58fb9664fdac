"""The lock: one scheduler per output, and whether it is alive."""

import fcntl
import json
import logging
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import psutil

from denoise_daisy.durable import make_folders, persistently
from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import state_shown
from denoise_daisy.waits import WAITS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds, or held, the lock; times are in seconds since 1970."""

    host: str
    pid: int
    started: float
    heartbeat: float
    running: bool
    """Whether it holds the lock, or has released it."""

    @classmethod
    def read(cls, run_dir: RunDir) -> Self | None:
        """What stands in the lock; None where nothing does that makes sense."""
        try:
            values = json.loads(persistently(run_dir.lock_file.read_text))
            return cls(
                host=str(values["host"]),
                pid=int(values["pid"]),
                started=float(values["started"]),
                heartbeat=float(values["heartbeat"]),
                running=bool(values["running"]),
            )
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended, as only its own host can know of most."""
        is_here = self.host == platform.node()
        return not self.running or (is_here and not _is_alive(self.pid))

    def __str__(self) -> str:
        """Its process and host, in words."""
        return f"process {self.pid} on {self.host}"


def holder_at_work(run_dir: RunDir) -> LockHolder | None:
    """Who is at work on a run, as far as one can tell who only looks.

    A scheduler of this host lives while its process does, one of another host while it
    shows a heartbeat.
    """
    holder = LockHolder.read(run_dir)
    if holder is None or holder.is_gone:
        return None
    try:
        shown = max(holder.heartbeat, run_dir.lock_file.stat().st_mtime)
    except OSError:
        shown = holder.heartbeat
    if time.time() - shown < WAITS.scheduler_silent:
        return holder
    is_here = holder.host == platform.node()
    return holder if is_here and _began_before(holder.pid, holder.started) else None


class Lock:
    """One scheduler per output, on whatever file system.

    The kernel's lock on the file tells of schedulers on this host, and on others where
    the file system passes locks on; a heartbeat in the file tells of the rest.
    """

    def __init__(self, run_dir: RunDir, *, is_start: bool = True) -> None:
        """Take it, and write nothing yet; the run directory must be there.

        Who starts nothing leaves in the file what tells of the latest start.

        Raises
        ------
        RefusedError
            Another scheduler is at work, or the run is somebody else's.
        """
        self._run_dir = run_dir
        self._is_start = is_start
        self._path = run_dir.lock_file
        self._started = time.time()
        self._released = threading.Event()
        # In a thread of its own: a batch system's commands can take a minute, and
        # workers leave a scheduler that shows no heartbeat.
        self._heart: threading.Thread | None = None
        self.taken_from: LockHolder | None = None
        """Who held the lock and is dead."""
        try:
            self._fd = persistently(self._open)
        except PermissionError as error:
            raise RefusedError(
                f"{str(self._path)!r} can't be written ({error.strerror}). Expected a"
                " run of your own; ask its owner to start it, or choose another"
                " output.path."
            ) from error
        self._found = LockHolder.read(run_dir)
        try:
            self._take(self._found)
        except BaseException:
            os.close(self._fd)
            raise

    def begin(self) -> None:
        """Show that its holder is at work, from now on.

        Raises
        ------
        RefusedError
            Another scheduler has begun meanwhile, where the file system has no locks.
        """
        holder = LockHolder.read(self._run_dir)
        if holder != self._found:
            raise self._refusal(holder)
        persistently(partial(self._beat, running=True))
        heart = threading.Thread(target=self._keep_beating, daemon=True)
        heart.start()
        self._heart = heart

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)

    def _take(self, holder: LockHolder | None) -> None:
        is_here = holder is not None and holder.host == platform.node()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise self._refusal(holder) from error
        except OSError:
            # A file system without locks: process number and heartbeat must do.
            if holder and holder.running and is_here and _is_alive(holder.pid):
                raise self._refusal(holder) from None
        if holder and holder.running:
            if not is_here and not _stays_silent(self._run_dir, self._fd, holder):
                raise self._refusal(holder)
            self.taken_from = holder

    def _keep_beating(self) -> None:
        while not self._released.wait(WAITS.heartbeat):
            # A disk that is full or away for a while must not stop the heart.
            with suppress(OSError):
                if successor(self._run_dir):
                    break
                self._beat(running=True)

    def _refusal(self, holder: LockHolder | None) -> RefusedError:
        return RefusedError(
            "A scheduler is at work on this output already:"
            f" {holder or 'another process'} ({self._path}). Expected one at a time;"
            " wait for it or stop it (Ctrl-C, kill)."
        )

    def _beat(self, *, running: bool) -> None:
        """Show that the holder lives, by the time in the file, to all hosts."""
        holder = LockHolder(
            host=platform.node(),
            pid=os.getpid(),
            started=round(self._started, 3),
            heartbeat=round(time.time(), 3),
            running=running,
        )
        self._write(holder)

    def _leave(self) -> None:
        if self._found and not self._is_start:
            self._write(replace(self._found, running=False))
        else:
            self._beat(running=False)

    def _write(self, holder: LockHolder) -> None:
        text = json.dumps(asdict(holder)).ljust(200) + "\n"
        os.pwrite(self._fd, text.encode(), 0)
        # Only then does a network file system let others see it.
        os.fsync(self._fd)

    def release(self) -> None:
        """Let the next scheduler in."""
        self._released.set()
        try:
            if self._heart is not None:
                self._heart.join()
                # What is left of it goes stale by itself.
                with suppress(OSError):
                    if not successor(self._run_dir):
                        self._leave()
        finally:
            os.close(self._fd)

    def __enter__(self) -> Self:
        try:
            self.begin()
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def successor(run_dir: RunDir) -> LockHolder | None:
    """Who has taken over from this process, as from one that has slept for long."""
    holder = LockHolder.read(run_dir)
    ours = (platform.node(), os.getpid())
    return None if holder is None or (holder.host, holder.pid) == ours else holder


def _stays_silent(run_dir: RunDir, fd: int, holder: LockHolder) -> bool:
    """Whether a holder on another host shows no life for as long as it may take.

    A job that was killed there may have come back here just now.
    """
    is_told = False
    while (left := WAITS.scheduler_silent - _age(run_dir.lock_file, fd)) > 0:
        if LockHolder.read(run_dir) != holder:
            return False
        if not is_told:
            is_told = True
            logger.warning(
                "%s has been at work on this output and may be dead: waiting up to"
                " %.0f s for a sign of life.",
                holder,
                left,
            )
        time.sleep(min(left, WAITS.heartbeat))
    return True


def _age(path: Path, fd: int) -> float:
    """Seconds since the last heartbeat, by the file server's clock."""
    probe = path.with_name(f"lock.{secrets.token_hex(4)}.partial")
    try:
        probe.touch()
        return probe.stat().st_mtime - os.fstat(fd).st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    return pid > 0 and psutil.pid_exists(pid)


def scheduler_is_alive(run_dir: RunDir, worker: str) -> bool:
    """Whether a scheduler has shown a heartbeat lately.

    The time of the worker's own state file, just written, is the file server's.
    """
    # Opened first: only then does a network file system ask its server.
    holder = LockHolder.read(run_dir)
    if holder is None or not holder.running:
        return False
    beat = persistently(run_dir.lock_file.stat).st_mtime
    return state_shown(run_dir, worker) - beat < WAITS.scheduler_silent


def _began_before(pid: int, moment: float) -> bool:
    """Whether a process is older than that, and so no other one with its number."""
    try:
        return psutil.Process(pid).create_time() <= moment + 1
    except psutil.Error:
        return False


def new_lock(run_dir: RunDir, existing: RunRecord | None) -> Lock:
    """The lock of a run that has none yet, in a directory that is made if need be.

    `existing` is what was read without it.
    """
    make_folders(run_dir.path)
    lock = Lock(run_dir)
    if RunRecord.read(run_dir) != existing:
        lock.release()
        raise RefusedError(
            f"Another scheduler has just started a run in {str(run_dir.path)!r}."
            " Expected one at a time; start again once it has ended."
        )
    return lock
