"""Going from run to run, wherever blocks are ready, as a worker of many images does."""

import logging
import time
import zlib
from collections.abc import Collection
from pathlib import Path

from denoise_daisy.run_dir.at_work import read_at_work, write_refusal
from denoise_daisy.run_dir.exit_codes import DISK_ERRORS, EXIT_LEFT
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.block_requester import Assignments
from denoise_daisy.worker.loop import JobTime
from denoise_daisy.worker.presence import Presence
from denoise_daisy.worker.visit import NoSuchTaskError, Visit, on_signals

logger = logging.getLogger(__name__)


class Rounds:
    """The runs that are at work, visited in turn until none has anything to do."""

    def __init__(
        self,
        hub: RunDir,
        presence: Presence,
        assignments: Assignments,
        job_time: JobTime,
    ) -> None:
        """`hub` is the run directory of all of them together."""
        self._hub = hub
        self._presence = presence
        self._assignments = assignments
        self._job_time = job_time
        self._visits: dict[Path, Visit] = {}
        """That which was begun last: at most one is loaded."""
        self._shunned: set[Path] = set()
        """Runs that this process can't work for."""
        self._number = zlib.crc32(presence.worker.encode())
        self._is_leaving = False

    def serve(self) -> int:
        """Work until there was nothing to do for a while, or no time; the exit code."""
        on_signals(self.leave_soon)
        busy_at = time.monotonic()
        try:
            while not self._is_leaving and time.monotonic() - busy_at < WAITS.idle:
                ready = read_at_work(self._hub)
                if ready is None:
                    break
                self._forget_all_but(ready)
                runs = [run for run, count in ready.items() if count > 0]
                # Not all begin with the same one; after each they look anew.
                first = self._number % max(1, len(runs))
                if any(map(self._go_through, runs[first:] + runs[:first])):
                    busy_at = time.monotonic()
                else:
                    time.sleep(WAITS.ask_pause)
                if any(visit.loop.is_leaving for visit in self._visits.values()):
                    return max(v.loop.exit_code for v in self._visits.values())
            return EXIT_LEFT if self._is_leaving else 0
        finally:
            self._forget_all_but([])

    def leave_soon(self, number: int, frame: object) -> None:
        """Take a signal as the wish to leave after the block in flight."""
        self._is_leaving = True
        for visit in list(self._visits.values()):
            visit.loop.leave_soon(number, frame)

    def _go_through(self, run: Path) -> bool:
        """Do what a run has ready; whether any block was."""
        run_dir = RunDir(run)
        if self._is_leaving:
            return False
        if run in self._shunned:
            return False
        visit = self._visit(run_dir)
        connection = visit.connection() if visit else None
        if visit is None or connection is None:
            # Its server does not listen yet, or another start's does.
            self._forget_all_but([])
            return False
        before = visit.loop.blocks
        self._presence.run = str(run)
        visit.loop.serve(connection)
        return visit.loop.blocks > before

    def _visit(self, run_dir: RunDir) -> Visit | None:
        """The run, loaded; whatever was loaded of another is released."""
        if run_dir.path not in self._visits:
            self._forget_all_but([])
            try:
                visit = self._begin(run_dir)
            except NoSuchTaskError:
                self._shunned.add(run_dir.path)
                return None
            except Exception as error:
                if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                    raise
                logger.exception("%s can't be worked for.", run_dir.path)
                write_refusal(run_dir, self._presence.worker, str(error))
                self._shunned.add(run_dir.path)
                return None
            if visit is None:
                return None
            self._visits[run_dir.path] = visit
        return self._visits[run_dir.path]

    def _begin(self, run_dir: RunDir) -> Visit | None:
        return Visit.begin(
            run_dir, self._presence, self._assignments, self._job_time, 0.0
        )

    def _forget_all_but(self, runs: Collection[Path]) -> None:
        """Release what was loaded for runs that are over."""
        for run in self._visits.keys() - runs:
            self._visits.pop(run).end()
