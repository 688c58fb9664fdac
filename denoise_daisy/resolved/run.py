"""A resolved run: everything that it needs to know, found out once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.limits import Limits
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.config import Config
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.images.formats import describe, versions_of
from denoise_daisy.images.image import Image
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.run_dir.record import RunRecord, StageRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.tasks.denoise import is_exact, missing_context

ENGINES = ("denoise-daisy", "ndsafir", "daisy", "zarr")
"""Packages whose versions are recorded, with those that read the image."""


@dataclass(frozen=True)
class ResolvedRun:
    """A config that was held against its image and found good."""

    config: Config
    """With the numbers of workers and threads that this machine decides."""
    image: Image
    denoiser: Denoiser
    id: str
    """Unguessable; tells the run from one that replaces it."""
    run_dir: RunDir
    stages: tuple[Stage, ...]
    """The denoising and all that comes after it, each after what it reads."""
    pools: tuple[Pool, ...]
    """The run's workers first, if they have anything to do."""
    limits: Callable[[str], Limits]
    """What a block may take, by the name of its task; asked for where that matters."""
    recorded: Mapping[str, StageRecord]
    """What earlier starts have kept of the stages, by name."""

    @property
    def output(self) -> Path:
        """The OME-Zarr."""
        return Path(self.config.output.path)

    @property
    def denoising(self) -> Stage:
        """The stage that every run begins with."""
        return self.stages[0]

    @property
    def array(self) -> Level:
        """The output's full resolution, which the denoising writes."""
        array = self.denoising.array
        if array is None:
            raise TypeError("the denoising writes no array")
        return array

    @property
    def tasks(self) -> tuple[Stage, ...]:
        """The stages after the denoising."""
        return self.stages[1:]

    @property
    def is_exact(self) -> bool:
        """Whether the bytes depend on neither blocks nor workers."""
        return is_exact(self.denoiser, self.denoising.grid, self.config.blocks)

    @property
    def missing_context(self) -> dict[str, tuple[int, int]]:
        """Context and the denoiser's reach, by axis, where the context is smaller."""
        return missing_context(self.denoising.grid)

    @property
    def memory(self) -> int:
        """Bytes that a worker takes at most to denoise a block."""
        if self.denoising.memory is None:
            raise TypeError("the denoising does not tell its memory")
        return self.denoising.memory

    def pool_of(self, stage: Stage) -> Pool:
        """The pool whose workers do the blocks of a stage."""
        return next(pool for pool in self.pools if stage.name in pool.stages)

    def pools_for(self, asked: Sequence[str]) -> list[Pool]:
        """The pools that have something to do, with only the stages asked for."""
        pools = [pool.of(asked) for pool in self.pools]
        return [pool for pool in pools if pool.stages]

    def stage_records(self) -> dict[str, StageRecord]:
        """What is to be kept of each stage, those of tasks taken out as well."""
        own = {stage.name: stage.record(self.output.parent) for stage in self.stages}
        return {**self.recorded, **own}

    def record(self, epoch: int) -> RunRecord:
        """The contents of run.json; `epoch` tells its starts apart."""
        return RunRecord(
            id=self.id,
            epoch=epoch,
            config=self.config.recorded,
            image=describe(self.image),
            stages=self.stage_records(),
            versions=versions_of(self.image) | {n: version(n) for n in ENGINES},
            engine=self.denoiser.engine,
        )
