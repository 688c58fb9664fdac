"""``python -m denoise_daisy.worker.job RUN_DIR``: a job of several workers.

It starts them, passes signals on, and ends with the last one.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from denoise_daisy.durable import persistently
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.shared_jobs import first_workers, read_wanted, write_ends
from denoise_daisy.waits import WAITS

SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

logger = logging.getLogger(__name__)


class Job:
    """The workers of this job; a process each, with a log of its own."""

    def __init__(self, run_dir: RunDir, name: str, words: Sequence[str]) -> None:
        """`words` are what each worker is told besides its name."""
        self._run_dir = run_dir
        self._name = name
        self._words = words
        self._pids: dict[str, int] = {}
        """Processes of the workers that live."""
        self._ends: dict[str, int] = {}
        """Exit codes of those that do not."""
        self._is_leaving = False

    def serve(self, count: int) -> None:
        """Begin with so many workers, unless others are wanted by now."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._tell_ends()
        wanted = read_wanted(self._run_dir, self._name)
        try:
            self._follow(first_workers(self._name, count) if wanted is None else wanted)
            while self._pids:
                self._look(signal.sigtimedwait(SIGNALS, WAITS.shared_job))
        finally:
            for pid in self._pids.values():
                os.kill(pid, signal.SIGKILL)

    def _look(self, came: signal.struct_siginfo | None) -> None:
        if came and came.si_signo != signal.SIGCHLD:
            self._is_leaving = True
            for pid in self._pids.values():
                os.kill(pid, came.si_signo)
        self._reap()
        wanted = read_wanted(self._run_dir, self._name)
        if wanted is not None:
            self._follow(wanted)

    def _follow(self, wanted: Collection[str]) -> None:
        """Start and end workers until those that are wanted live."""
        for worker in self._pids.keys() - wanted:
            os.kill(self._pids[worker], signal.SIGKILL)
        for worker in sorted(set(wanted) - self._pids.keys() - self._ends.keys()):
            if not self._is_leaving:
                self._start(worker)

    def _start(self, worker: str) -> None:
        try:
            self._pids[worker] = persistently(partial(self._spawn, worker))
        except OSError as error:
            logger.warning("%s can't be started: %s.", worker, error)
            self._end(worker, 1)

    def _spawn(self, worker: str) -> int:
        log, flags = self._run_dir.worker_log(worker), os.O_CREAT | os.O_APPEND
        module = [sys.executable, "-m", "denoise_daisy.worker"]
        return os.posix_spawn(
            sys.executable,
            [*module, str(self._run_dir.path), f"--name={worker}", *self._words],
            os.environ,
            file_actions=[
                # Daisy names in it what lets a client in.
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags | os.O_WRONLY, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsigmask=[],
        )

    def _reap(self) -> None:
        for worker, pid in list(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._pids[worker]
                self._end(worker, os.waitstatus_to_exitcode(status))

    def _end(self, worker: str, code: int) -> None:
        logger.info("%s ended (%d).", worker, code)
        self._ends[worker] = code
        self._tell_ends()

    def _tell_ends(self) -> None:
        """Those of which the scheduler does not hear end for it with the job."""
        try:
            write_ends(self._run_dir, self._name, self._ends)
        except OSError as error:
            logger.warning("Nobody can be told how workers end: %s.", error)


def main() -> None:
    """Be the job."""
    parser = argparse.ArgumentParser(description="A job of several workers.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--task", default="")
    parser.add_argument("--ends-at", default="0")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr
    )
    # LSF sends it before it kills; the workers do not heed it either.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    words = [f"--task={options.task}", f"--ends-at={options.ends_at}"]
    # A worker that is started later has less time than the job.
    words += [f"--began-at={time.time()}"]
    Job(RunDir(options.run_dir), options.name, words).serve(options.workers)


if __name__ == "__main__":
    main()
