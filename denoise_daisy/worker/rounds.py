"""Going from run to run, wherever blocks are ready, as a worker of many images does."""

import logging
import time
import zlib
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
        self._visit: Visit | None = None
        """That which was begun last: no other is loaded."""
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
                if self._visit and self._visit.run_dir.path not in ready:
                    self._leave()
                runs = [run for run, count in ready.items() if count > 0]
                # Not all begin with the same one; after each they look anew.
                first = self._number % max(1, len(runs))
                if any(map(self._go_through, runs[first:] + runs[:first])):
                    busy_at = time.monotonic()
                else:
                    time.sleep(WAITS.ask_pause)
                if self._visit and self._visit.loop.is_leaving:
                    return self._visit.loop.exit_code
            return EXIT_LEFT if self._is_leaving else 0
        finally:
            self._leave()

    def leave_soon(self, number: int, frame: object) -> None:
        """Take a signal as the wish to leave after the block in flight."""
        self._is_leaving = True
        if self._visit is not None:
            self._visit.loop.leave_soon(number, frame)

    def _go_through(self, run: Path) -> bool:
        """Do what a run has ready; whether any block was."""
        run_dir = RunDir(run)
        if self._is_leaving or run in self._shunned:
            return False
        visit = self._visit_to(run_dir)
        connection = visit.connection() if visit else None
        if visit is None or connection is None:
            # Its server does not listen yet, or another start's does.
            self._leave()
            return False
        before = visit.loop.blocks
        self._presence.run = str(run)
        visit.loop.serve(connection)
        return visit.loop.blocks > before

    def _visit_to(self, run_dir: RunDir) -> Visit | None:
        """The run, loaded; whatever was loaded of another is released."""
        if self._visit is None or self._visit.run_dir != run_dir:
            self._leave()
            self._visit = self._begin(run_dir)
        return self._visit

    def _begin(self, run_dir: RunDir) -> Visit | None:
        known = self._presence, self._assignments, self._job_time
        try:
            return Visit.begin(run_dir, *known, idle_seconds=0.0)
        except NoSuchTaskError:
            logger.info("%s has no task for this worker.", run_dir.path)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise
            logger.exception("%s can't be worked for.", run_dir.path)
            write_refusal(run_dir, self._presence.worker, str(error))
        self._shunned.add(run_dir.path)
        return None

    def _leave(self) -> None:
        """Release what was loaded."""
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.end()
