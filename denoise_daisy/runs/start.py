"""One start of a run: from its first block to its last, and how it went."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from denoise_daisy.amounts import GIB
from denoise_daisy.blockwise.targets import SingleFile
from denoise_daisy.durable import persistently, remove_partials
from denoise_daisy.errors import BlocksFailed, RunStopped
from denoise_daisy.events import Tell
from denoise_daisy.monitoring.keeper import page_said
from denoise_daisy.monitoring.pace import denoised_per_second
from denoise_daisy.notify import Notifier
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.connection import remove_ready
from denoise_daisy.run_dir.shared_jobs import remove_all_wanted
from denoise_daisy.run_dir.worker_states import read_states, remove_states
from denoise_daisy.runs.not_kept import delete_unneeded
from denoise_daisy.runs.output_files import gone_files
from denoise_daisy.runs.preflight import Preflight, unneeded_stages
from denoise_daisy.runs.provenance import complete
from denoise_daisy.runs.summary import failures, summary
from denoise_daisy.scheduling.crew import Crew
from denoise_daisy.scheduling.news import GivenUp
from denoise_daisy.scheduling.run_progress import ShowsProgress
from denoise_daisy.scheduling.scheduler import Scheduler, Shared
from denoise_daisy.scheduling.signals import Signals
from denoise_daisy.scheduling.stage_state import StageState, stage_states

logger = logging.getLogger("denoise_daisy")


@dataclass(frozen=True)
class Among:
    """Where a run stands that is done with others, by the same workers."""

    crew: Crew
    signals: Signals
    progress: ShowsProgress
    begins: Callable[[Preflight], None]
    """Told what is to be done, once all is prepared, or was done before."""
    block_given_up: GivenUp
    is_scene: bool
    """Whether it is one of a file's scenes, which keep its metadata together."""


@dataclass(frozen=True)
class Start:
    """One start of a run, once everything is prepared."""

    found: Preflight
    epoch: int
    grace_seconds: float
    say: Callable[[str], None]
    notifier: Notifier
    among: Among | None = None
    """The others that share its workers; None: it is alone."""
    tell: Tell | None = None
    """Takes its progress, for other programs."""

    def run(self) -> None:
        """Do the blocks that are left, and say how it went.

        Raises
        ------
        BlocksFailed, RunStopped, Interrupted
            Not all is done.
        """
        run, stages = self.found.run, self.found.asked_stages
        self._warn_of_lines()
        pools = run.pools_for(self.found.asked)
        self._end_jobs_of_earlier_starts()
        remove_states(run.run_dir)
        remove_ready(run.run_dir)
        remove_all_wanted(run.run_dir)
        retries = {name: n for pool in run.pools for name, n in pool.retries.items()}
        states = stage_states(stages, self.found.ledgers, retries)
        self._do_blocks(states, pools)
        ledgers = self.found.ledgers
        if gone := gone_files(stages, ledgers):
            raise RunStopped(gone)
        unneeded = unneeded_stages(run, ledgers, self.found.left_alone)
        delete_unneeded(run, ledgers, unneeded)
        failed = [s for s in states.values() if s.ledger.last_failed() or s.orphans]
        if failed:
            raise BlocksFailed(failures(failed, run.run_dir))

    def _warn_of_lines(self) -> None:
        for stage, ledger in self.found.ledgers.items():
            for name in ledger.unreadable:
                logger.warning(
                    "Ledger file %s/%s has lines that are torn, or another run's; they"
                    " are left out.",
                    stage,
                    name,
                )

    def _end_jobs_of_earlier_starts(self) -> None:
        """Jobs of a scheduler that was killed may still be in the queue.

        Where there is no such batch system, nobody can tell.
        """
        if self.among is None:
            for pool in self.found.run.pools:
                pool.launcher.end_all()

    def _do_blocks(self, states: dict[str, StageState], pools: Sequence[Pool]) -> None:
        run = self.found.run
        before = {name: state.ledger.done_count for name, state in states.items()}
        began = time.monotonic()
        # By the file server's clock, as what is held against it.
        start = persistently(run.run_dir.run_file.stat).st_mtime
        sweep = threading.Thread(target=_sweep, args=(run, start))
        sweep.start()
        self._announce(states, before, pools)
        try:
            with self._shared(states, pools) as shared:
                Scheduler(
                    states,
                    pools,
                    run.run_dir,
                    epoch=self.epoch,
                    grace_seconds=self.grace_seconds,
                    given_up=(self.among or self.notifier).block_given_up,
                    shared=shared,
                ).run()
        finally:
            sweep.join()
            if not read_states(run.run_dir):
                _sweep(run, math.inf)
            for state in states.values():
                persistently(state.ledger.refresh)
                state.update()
            seconds = time.monotonic() - began
            complete(self.found, seconds)
            rate = rate_of(run, self.epoch, states.get(run.denoising.name))
            said = summary(run, states, before, seconds, rate, self.found.warnings)
            logger.info("%s", said)
            self.say(said)

    @contextmanager
    def _shared(
        self, states: dict[str, StageState], pools: Sequence[Pool]
    ) -> Iterator[Shared]:
        """What it shares with other runs meanwhile, if there are some."""
        if self.among is None:
            yield Shared.alone(pools, self.found.run.run_dir, states, self.tell)
            return
        among = self.among
        with among.crew.joined(self.found.run.run_dir, pools, states) as workforce:
            yield Shared(workforce, among.signals, among.progress)

    def _announce(
        self,
        states: dict[str, StageState],
        before: dict[str, int],
        pools: Sequence[Pool],
    ) -> None:
        run = self.found.run
        denoising = states.get(run.denoising.name)
        if denoising and denoising.left:
            threads = run.config.workers.threads
            said = (
                f"Denoising with {run.denoiser.engine}, {threads} threads per worker."
            )
            logger.info("%s", said)
            self.say(said)
        blocks = sum(state.stage.grid.size for state in states.values())
        workers = ", ".join(
            f"{pool.workers.number} {f'for {pool.name}' if pool.name else 'workers'}"
            for pool in pools
        )
        self.say(
            f"{blocks} blocks ({sum(before.values())} done before), {workers},"
            f" {run.memory / GIB:.2f} GiB each. Logs: {run.run_dir.logs}"
            + page_said(run.run_dir)
        )


def rate_of(run: ResolvedRun, epoch: int, state: StageState | None) -> float | None:
    """Voxels denoised in a second, if any were: a run ends as it has without that."""
    if state is not None and state.ledger.totals.blocks:
        with suppress(OSError):
            return denoised_per_second(run, epoch)
    return None


def _sweep(run: ResolvedRun, older_than: float) -> None:
    """Remove what dead writers left in the middle of a file, as far as can be."""
    try:
        _remove_partials(run, older_than)
    except OSError as error:
        logger.warning("Unfinished files could not be removed: %s.", error)


def _remove_partials(run: ResolvedRun, older_than: float) -> None:
    beside = run.output.parent
    folders = {stage.target.place.parent for stage in run.stages}
    for folder in {run.output, run.run_dir.path, *folders} - {beside}:
        if folder.is_dir():
            remove_partials(folder, older_than=older_than)
    for stage in run.stages:
        if isinstance(stage.target, SingleFile):
            place = stage.target.place
            mine = f"{place.name}.*.partial"
            remove_partials(place.parent, older_than=older_than, pattern=mine)
