"""Workers that runs of one start share: they go from run to run as there is work."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from denoise_daisy.errors import RunStopped
from denoise_daisy.forecast import Hands
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.at_work import read_refusals, remove_refusals, write_at_work
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import place_of, read_states
from denoise_daisy.scheduling.stage_state import StageState
from denoise_daisy.scheduling.worker_pool import WorkerPool
from denoise_daisy.scheduling.workforce import AnyWorkforce, Workforce

MAX_REFUSALS = 3
"""A run stops when so many workers, or all there are, can't work for it."""


class Crew(Workforce):
    """The pools of many runs together; each run joins for as long as it has blocks.

    Runs are in threads of their own; `maintain` is for one thread that sees to all.
    """

    def __init__(self, run_dir: RunDir, run_id: str) -> None:
        """`run_dir` is theirs together; their jobs bear a name made of `run_id`."""
        self._states: dict[str, StageState] = {}
        super().__init__([], run_dir, self._states)
        self.hub = run_dir
        """Where workers show themselves, and are told which runs are at work."""
        self._run_id = run_id
        self._changing = threading.RLock()
        self._retries: dict[str, dict[str, int]] = {}
        self._runs: list[RunDir] = []
        self._joined: set[Path] = set()
        self.coming = 0
        """Number of runs that are yet to join, at most."""
        self.error: RunStopped | None = None
        """Why no run can go on."""

    def check(self, pools: Sequence[Pool]) -> None:
        """Take up the pools of a run, and refuse what no batch system would take.

        Raises
        ------
        NotHereError, NoAnswerError, InputError
            As `Launcher.check` does.
        """
        with self._changing:
            for pool in pools:
                if pool.name not in self._retries:
                    retries: dict[str, int] = {}
                    ours = self.hub, self._run_id, pool.name
                    launcher = pool.workers.launcher(*ours)
                    launcher.check()
                    self._retries[pool.name] = retries
                    own = replace(pool, launcher=launcher, retries=retries)
                    self.add(own, self.hub, self._states)

    @contextmanager
    def joined(
        self, run_dir: RunDir, pools: Sequence[Pool], states: Mapping[str, StageState]
    ) -> Iterator[AnyWorkforce]:
        """A run has its blocks done meanwhile, by what is yielded.

        `states` are of the stages that are to be done.
        """
        run = str(run_dir.path)
        remove_refusals(run_dir)
        with self._changing:
            for pool in pools:
                for stage in pool.stages:
                    self._states[place_of(stage, run)] = states[stage]
                    self._retries[pool.name][place_of(stage, run)] = pool.retries[stage]
            self._runs.append(run_dir)
            self._joined.add(run_dir.path)
        try:
            yield _Visitors(self, run, pools)
        finally:
            with self._changing:
                self._runs.remove(run_dir)
                for place in [place_of(stage, run) for stage in states]:
                    self._states.pop(place, None)
                    for retries in self._retries.values():
                        retries.pop(place, None)

    @property
    def ready(self) -> int:
        """Number of blocks that could be done now, had nobody any."""
        return sum(state.ready for state in list(self._states.values()))

    @property
    def runs(self) -> list[RunDir]:
        """The runs at work."""
        with self._changing:
            return list(self._runs)

    def have_seen(self, run_dir: RunDir) -> bool:
        """Whether a run is at work, or was."""
        with self._changing:
            return run_dir.path in self._joined

    def _wanted(self, workers: WorkerPool) -> int:
        """As many as there will be blocks for, so that they come in one submission.

        A task's own workers wait for what they read.
        """
        is_own = bool(workers.pool.name)
        coming = self.coming if workers.ready and not is_own else 0
        return min(workers.pool.workers.number, workers.ready + coming)

    def _ready_by_run(self) -> dict[Path, int]:
        """How many blocks of each run are ready, and taken by nobody."""
        states, taken = dict(self._states), Counter(self.at_work())
        ready = {run.path: 0 for run in self.runs}
        for place, state in states.items():
            run = Path(place.rpartition(":")[0])
            if run in ready:
                ready[run] += max(0, state.ready - taken[place])
        return ready

    def maintain(self) -> None:
        """See to every pool, and tell workers which runs are at work.

        Raises
        ------
        RunStopped
            None of them can go on.
        """
        write_at_work(self.hub, self._ready_by_run())
        try:
            with self._changing:
                super().maintain()
        except RunStopped as error:
            self.error = error
            raise


@dataclass(frozen=True)
class _Visitors:
    """The crew, as the scheduler of one run sees it."""

    crew: Crew
    run: str
    pools: Sequence[Pool]

    @property
    def address(self) -> str:
        """Where all of them find the scheduler."""
        return self.crew.address

    @property
    def timeouts(self) -> dict[str, float]:
        """How long a block may take, in seconds, by stage."""
        return {
            name: pool.timeout_seconds for pool in self.pools for name in pool.stages
        }

    def maintain(self) -> None:
        """They are seen to by the crew's own thread.

        Raises
        ------
        RunStopped
            No run can go on; or some workers, one after the other, can't work for this.
        """
        if self.crew.error:
            raise RunStopped(str(self.crew.error))
        refusals = read_refusals(RunDir(Path(self.run)))
        most = max((pool.workers.number for pool in self.pools), default=1)
        if refusals and len(refusals) >= min(MAX_REFUSALS, most):
            raise RunStopped(
                f"{len(refusals)} workers can't work for this image: {refusals[-1]}"
            )

    def cancel_waiting(self) -> None:
        """The crew's thread does that."""

    def end_all(self) -> None:
        """They go on with other runs; a block of this one that is over is dropped."""

    def let_leave(self) -> None:
        """They leave when no run has anything to do."""

    def in_flight(self) -> int:
        """How many have a block of this run right now."""
        return sum(
            state.run == self.run and state.block is not None
            for state in read_states(self.crew.hub)
        )

    def at_work(self) -> list[str]:
        """The stages of this run whose blocks they had lately, once for each."""
        begin = place_of("", self.run)
        return [
            place.removeprefix(begin)
            for place in self.crew.at_work()
            if place.startswith(begin)
        ]

    def seconds_at_work(self) -> Mapping[str, Sequence[float]]:
        """For how long they were seen at each of these blocks, by stage."""
        begin = place_of("", self.run)
        return {
            place.removeprefix(begin): seconds
            for place, seconds in self.crew.seconds_at_work().items()
            if place.startswith(begin)
        }

    def hands(self) -> Mapping[str, Hands]:
        """How many workers to count on, by pool: those of all runs."""
        return self.crew.hands()

    def waits_for(self) -> str:
        """What workers wait for, in words."""
        return self.crew.waits_for()
