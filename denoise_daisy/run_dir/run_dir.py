"""The places in a run directory, made, cleared, and found."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from denoise_daisy.durable import delete, make_folders
from denoise_daisy.errors import InputError


@dataclass(frozen=True, slots=True)
class RunDir:
    """The run directory of an output: its places."""

    path: Path

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
    def lock_file(self) -> Path:
        """Who runs it."""
        return self.path / "lock"

    @property
    def connection_file(self) -> Path:
        """Where the scheduler listens."""
        return self.path / "connection.json"

    @property
    def ready_file(self) -> Path:
        """How many blocks of each stage are ready."""
        return self.path / "ready.json"

    @property
    def report(self) -> Path:
        """The values of its report."""
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        """How far it is, for people to look at."""
        return self.path / "status.html"

    @property
    def workers(self) -> Path:
        """Folder of what each worker is doing."""
        return self.path / "workers"

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.path / "logs"

    def ledger(self, stage: str) -> Path:
        """Folder of a stage's ledger."""
        return self.path / "ledger" / stage

    def work_folder(self, stage: str) -> Path:
        """Where a stage keeps what only other stages read."""
        return self.path / "tasks" / stage

    def worker_log(self, worker: str) -> Path:
        """Log file of one worker."""
        return self.logs / f"{worker}.log"

    def make(self, stages: Iterable[str]) -> None:
        """Make the folders."""
        for folder in (*map(self.ledger, stages), self.logs, self.workers):
            make_folders(folder)

    def clear(self) -> None:
        """Delete all but the lock and run.json."""
        for file in (self.connection_file, self.page):
            file.unlink(missing_ok=True)
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
