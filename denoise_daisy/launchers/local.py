"""Workers as child processes on this machine."""

import os
import subprocess
import sys

from denoise_daisy.launchers.base import Exit
from denoise_daisy.rundir import RunDir


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
            with self._run_dir.worker_log(worker).open("ab") as log:
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
        """SIGKILL, which ends a stopped process as well, and wait for its end."""
        process = self._processes[worker]
        process.kill()
        process.wait()

    def cancel_waiting(self, begun: set[str]) -> None:
        """Nothing to do."""

    def end_all(self) -> None:
        """End every worker; those of an earlier start end by themselves."""
        for worker in self.living():
            self.kill(worker)

    def waits_for(self) -> str:
        """None has to wait."""
        return ""
