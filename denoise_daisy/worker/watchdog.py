"""The worker's look at its scheduler: it leaves when that is dead."""

import logging
import os
import time
from contextlib import suppress

from denoise_daisy.run_dir.exit_codes import EXIT_LEFT
from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.waits import WAITS
from denoise_daisy.worker.block_requester import Assignments
from denoise_daisy.worker.presence import Presence

logger = logging.getLogger(__name__)


def watch(run_dir: RunDir, presence: Presence, assignments: Assignments) -> None:
    """End the process, its block unfinished if need be, once its scheduler died."""
    _until_dead(run_dir, presence)
    logger.info("The scheduler is dead; %g s to finish.", WAITS.last_block)
    deadline = time.monotonic() + WAITS.last_block
    while assignments.is_busy and time.monotonic() < deadline:
        time.sleep(WAITS.ask_pause)
    with suppress(OSError):
        presence.remove()
    os._exit(EXIT_LEFT)


def _until_dead(run_dir: RunDir, presence: Presence) -> None:
    """Return once the scheduler has shown no heartbeat for too long."""
    last, changed = None, time.monotonic()
    limit = WAITS.scheduler_silent
    while time.monotonic() - changed < limit:
        time.sleep(WAITS.heartbeat_check)
        holder = LockHolder.read(run_dir)
        if holder and holder.running and holder.heartbeat != last:
            last, changed = holder.heartbeat, time.monotonic()
        is_gone = holder is not None and holder.is_gone
        limit = WAITS.scheduler_gone if is_gone else WAITS.scheduler_silent
        with suppress(OSError):
            presence.show()
