"""Pools of workers: who does the blocks of which stages, and how often they try."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.config import Config
from denoise_daisy.launchers.base import Launcher
from denoise_daisy.launchers.workers import AnyWorkers
from denoise_daisy.run_dir.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers of one kind, and the stages whose blocks they do."""

    name: str
    """The task whose own they are; empty for those of the run."""

    workers: AnyWorkers

    launcher: Launcher
    """What starts them; made once."""

    retries: Mapping[str, int]
    """How often a failed block is tried again, by stage; all stages that they do."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages whose blocks they do."""
        return tuple(self.retries)

    @property
    def timeout_seconds(self) -> float:
        """How long a block may take."""
        return self.workers.block_timeout_minutes * 60

    def of(self, asked: Sequence[str]) -> "Pool":
        """The pool with only the stages asked for."""
        kept = {name: n for name, n in self.retries.items() if name in asked}
        return replace(self, retries=kept)


def make_pools(
    config: Config, stages: Sequence[Stage], run_dir: RunDir, run_id: str
) -> Iterator[Pool]:
    """That of the run, and one for each task that has workers of its own."""
    tasks = {task.name: task for task in config.tasks}
    own = {name: task.workers for name, task in tasks.items() if task.workers}
    pools: dict[str, dict[str, int]] = {}
    for stage in stages:
        name = stage.task if stage.task in own else ""
        workers: AnyWorkers = own.get(name) or config.workers
        task = tasks.get(stage.task)
        retries = task.max_retries if task else None
        pool = pools.setdefault(name, {})
        pool[stage.name] = workers.max_retries if retries is None else retries
    for name, by_stage in pools.items():
        workers = own.get(name) or config.workers
        launcher = workers.launcher(run_dir, run_id, name)
        yield Pool(name, workers, launcher, by_stage)
