"""Workers as child processes on this machine."""

import math
import os
import subprocess
import sys
from contextlib import suppress
from typing import Literal, Self

from pydantic import PositiveInt

from denoise_daisy.amounts import GIB
from denoise_daisy.forecast import Hands
from denoise_daisy.launchers.base import Exit, Launcher
from denoise_daisy.launchers.workers import AnyWorkers, Count
from denoise_daisy.machine import cores, free_memory
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS

MEMORY_SHARE = 0.8
"""Part of the free memory that workers may plan with, where memory_gib is auto."""

MOST_CORES = 8
"""Of a worker, where the numbers of workers and threads are both open: it reads and
writes on one."""

FEWEST_WORKERS = 2
"""As long as there are cores for them: one computes while the other reads or writes."""


class LocalWorkers(AnyWorkers):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    """Where workers run."""

    count: Count | Literal["auto"] = "auto"
    """Number of workers; auto: cores / threads_per_worker; 0: only manually started
    ones."""

    threads_per_worker: PositiveInt | Literal["auto"] = 1
    """Threads of ndsafir in one worker; tasks and filters have one.  The result does
    not depend on them, unless denoise.engine is ndsafir: with more than one that
    repeats itself only to about 3e-4 grey levels.  auto: cores / count, or up to 8
    where count is auto: larger blocks, with less context; 1 where more would be of no
    use, or change the result."""

    @property
    def number(self) -> int:
        """As asked for, or as many as the cores allow."""
        if self.count != "auto":
            return self.count
        return max(1, cores() // self.threads)

    @property
    def threads(self) -> int:
        """As asked for; one until it is `resolved` that more are of use."""
        return 1 if self.threads_per_worker == "auto" else self.threads_per_worker

    @property
    def address(self) -> str:
        """The loopback interface: none is on another machine."""
        return "127.0.0.1"

    def hands(self, running: int) -> Hands:
        """All that are wanted: they start at once."""
        number = max(running, self.number)
        return Hands(least=number, most=number)

    def resolved(self, *, shares_threads: bool, blocks: float) -> Self:
        """With the numbers of workers and threads that the cores allow."""
        is_free = self.threads_per_worker == "auto" and shares_threads
        threads = self._share(blocks) if is_free else self.threads
        told = self.model_copy(update={"threads_per_worker": threads})
        return told.model_copy(update={"count": told.number})

    def _share(self, blocks: float) -> int:
        """Cores for each of the workers, of whom no more are at work than blocks."""
        there = cores()
        if self.count != "auto":
            return max(1, there // max(1, self.count))
        least = max(FEWEST_WORKERS, math.ceil(there / MOST_CORES))
        # Of so many workers or somewhat more, those that leave fewest cores idle.
        workers = min(range(least, 2 * least), key=lambda number: there % number)
        return max(1, there // max(1, int(min(workers, blocks))))

    @property
    def more_memory(self) -> str:
        """They share this machine's."""
        return "lower workers.count"

    def memory(self, wanted: float | Literal["auto"]) -> int:
        """As asked for, or this worker's share of the free memory."""
        if wanted == "auto":
            return int(free_memory() * MEMORY_SHARE / max(1, self.number))
        return int(wanted * GIB)

    def launcher(self, run_dir: RunDir, _: str, task: str) -> Launcher:
        """Child processes of this one."""
        return LocalLauncher(run_dir, task)


class LocalLauncher:
    """Each worker is a child process with a log file of its own."""

    def __init__(self, run_dir: RunDir, task: str = "") -> None:
        """`task` is the one that these workers are for; empty: all without own ones."""
        self._run_dir = run_dir
        self._task = task
        self._started = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def check(self) -> None:
        """Nothing to ask."""

    def describe(self) -> str:
        """Nothing is submitted."""
        return ""

    def start(self, count: int) -> None:
        """Start workers, out of reach of the terminal's Ctrl-C."""
        module = [sys.executable, "-m", "denoise_daisy.worker"]
        for _ in range(count):
            self._started += 1
            whose = f"-{self._task}" if self._task else ""
            worker = f"local-{os.getpid()}{whose}-{self._started}"
            path, flags = self._run_dir.worker_log(worker), os.O_CREAT | os.O_APPEND
            # Daisy names in it what lets a client in.
            with os.fdopen(os.open(path, flags | os.O_WRONLY, 0o600), "ab") as log:
                self._processes[worker] = subprocess.Popen(
                    [
                        *module,
                        str(self._run_dir.path),
                        f"--name={worker}",
                        f"--task={self._task}",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def exclude(self, host: str) -> None:
        """Nothing to do: there is no other."""

    def living(self) -> set[str]:
        """Names of the workers that have not ended."""
        return {name for name, p in self._processes.items() if p.poll() is None}

    def running(self) -> set[str]:
        """The same: none has to wait."""
        return self.living()

    def ended(self) -> list[Exit]:
        """The workers that ended since the last call."""
        exits = [
            Exit(name, code)
            for name, process in self._processes.items()
            if (code := process.poll()) is not None
        ]
        for exit_ in exits:
            del self._processes[exit_.worker]
        return exits

    def kill(self, worker: str) -> None:
        """SIGKILL, which ends a stopped process as well, and wait for its end.

        One that waits for a file server that is away ends only some time later.
        """
        process = self._processes[worker]
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(WAITS.leave)

    def cancel_waiting(self, begun: set[str]) -> None:
        """Nothing to do."""

    def end_all(self) -> None:
        """End every worker; those of an earlier start end by themselves."""
        for worker in self.living():
            self.kill(worker)

    def waits_for(self) -> str:
        """None has to wait."""
        return ""
