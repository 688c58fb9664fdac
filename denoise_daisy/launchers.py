"""How worker processes are started, watched and ended."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Protocol

from denoise_daisy.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker that ended."""

    worker: str
    code: int
    """Exit code; -N where signal N ended it."""


class Launcher(Protocol):
    """Starts workers of one run and knows which of them live."""

    def start(self, worker: str) -> None:
        """Start one worker under that name."""

    def living(self) -> set[str]:
        """Names of the workers that have not ended, as far as is known."""

    def ended(self) -> list[Exit]:
        """The workers that ended since the last call."""

    def kill(self, worker: str) -> None:
        """End one worker at once."""


class LocalLauncher:
    """Workers are child processes on this machine, each with a log file."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, worker: str) -> None:
        """Start one, out of reach of the terminal's Ctrl-C."""
        module = [sys.executable, "-m", "denoise_daisy.worker"]
        with self._run_dir.worker_log(worker).open("ab") as log:
            self._processes[worker] = subprocess.Popen(
                [*module, str(self._run_dir.path), "--name", worker],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def living(self) -> set[str]:
        """Names of the workers that have not ended."""
        return {name for name, p in self._processes.items() if p.poll() is None}

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
