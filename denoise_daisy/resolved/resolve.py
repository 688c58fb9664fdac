"""Holding a config against its image: everything that a run needs to know, once."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from denoise_daisy.blockwise.block_shape import SCIPY_BYTES
from denoise_daisy.blockwise.limits import Limits
from denoise_daisy.config import Config
from denoise_daisy.config.problems import problems_of
from denoise_daisy.denoisers.base import Denoiser
from denoise_daisy.errors import RefusedError
from denoise_daisy.images.formats import described_image, open_image
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.images.input import volume_of
from denoise_daisy.resolved.by_number import channels_by_number
from denoise_daisy.resolved.pools import make_pools
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord, StageRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.tasks.builder import StageBuilder
from denoise_daisy.tasks.cutting import Cutting
from denoise_daisy.tasks.denoise import DENOISE, Denoising
from denoise_daisy.tasks.places import Places
from denoise_daisy.tasks.stages import build_stages


def resolve(config: Config, record: RunRecord | None, new_id: str) -> ResolvedRun:
    """Hold a config against its image; nothing is written.

    `record` is that of a run that is to go on: what it found out (block shapes, shards,
    noise numbers) is kept where the config leaves it open.  A new run gets the new id.

    Raises
    ------
    InputError
        The config can't work with that image; the message has the number to change.
    """
    image = open_image(config.input)
    return _Resolving(
        config=channels_by_number(config, image),
        image=image,
        run_dir=RunDir.of_output(Path(config.output.path)),
        id=record.id if record else new_id,
        recorded=record.stages if record else {},
    ).settled()


def denoising_with(run: ResolvedRun, config: Config) -> ResolvedRun:
    """The denoising that a run would have with another config, of the same image.

    Memory for its tasks is left, but they are not built.

    Raises
    ------
    InputError
        There would be none.
    """
    return _Resolving(
        config=config,
        image=run.image,
        run_dir=run.run_dir,
        id=run.id,
        recorded=run.recorded,
        has_tasks=False,
    ).settled()


def of_image(run: ResolvedRun, image: Image) -> ResolvedRun:
    """The run that there would be with another image, by what the same starts kept.

    Raises
    ------
    InputError
        There would be none.
    """
    return _Resolving(
        config=run.config,
        image=image,
        run_dir=run.run_dir,
        id=run.id,
        recorded=run.recorded,
    ).run()


def restore(record: RunRecord, run_dir: RunDir) -> ResolvedRun:
    """The run of a run.json, which was found good when it was started.

    The image is as it was then: of its file, see `check_input`.

    Raises
    ------
    RefusedError
        The record is of another version.
    """
    try:
        config = Config.model_validate_json(json.dumps(record.config))
    except ValidationError as error:
        problems = problems_of(Config, error.errors(), record.config)
        raise _unusable(run_dir, "; ".join(problems)) from error
    _recorded(record, run_dir, DENOISE)
    place = config.output.model_copy(update={"path": str(run_dir.output)})
    config = config.model_copy(update={"output": place})
    try:
        image = (
            open_image(config.input)
            if record.image is None
            else described_image(record.image)
        )
    except ValueError as error:
        raise _unusable(run_dir, f"image.{error}") from error
    run = _Resolving(
        config=config,
        image=image,
        run_dir=run_dir,
        id=record.id,
        recorded=record.stages,
        is_restored=True,
    ).run()
    for stage in run.tasks:
        _recorded(record, run_dir, stage.name)
    return run


def check_input(run: ResolvedRun, record: RunRecord) -> None:
    """Hold the image's file as it is now against a run.json.

    Raises
    ------
    InputError
        It can't be read.
    RefusedError
        It is not the one that the run was started with.
    """
    known = _recorded(record, run.run_dir, DENOISE).parameters
    changed = [
        name
        for name, value in run.image.current_identity().items()
        if known.get(f"input {name}") != value
    ]
    if changed:
        raise RefusedError(
            f"The input {run.config.input.path!r} has changed since the run was started"
            f" ({', '.join(changed)} differ). Expected the same file."
        )


def _recorded(record: RunRecord, run_dir: RunDir, stage: str) -> StageRecord:
    """What is kept of a stage that the config asks for."""
    if stage not in record.stages:
        raise _unusable(run_dir, f"it tells nothing of {stage!r}")
    return record.stages[stage]


def _unusable(run_dir: RunDir, why: str) -> RefusedError:
    return RefusedError(
        f"{str(run_dir.run_file)!r} can't be used: {why}. Expected the record of a run"
        " of this version; choose another output.path, or move the run directory and"
        " its output away."
    )


def with_denoiser(run: ResolvedRun, denoiser: Denoiser) -> ResolvedRun:
    """The run with a denoiser that has learnt something about the image."""
    return _Resolving(
        config=run.config,
        image=run.image,
        run_dir=run.run_dir,
        id=run.id,
        # What was chosen and tried just now stays as it is.
        recorded=run.stage_records(),
        is_restored=True,
    ).with_stages(denoiser)


def _limits(config: Config) -> Callable[[str], Limits]:
    """What a block may take, by the name of its task; what is free is asked once."""
    own = {task.name: task.workers for task in config.tasks if task.workers}

    @cache
    def limits(pool: str) -> Limits:
        workers = own.get(pool) or config.workers
        return workers.limits("auto" if pool else config.blocks.memory_gib, pool)

    return lambda task: limits(task if task in own else "")


@dataclass(frozen=True, kw_only=True)
class _Resolving:
    """A run that is being resolved."""

    config: Config
    image: Image
    run_dir: RunDir
    id: str
    recorded: Mapping[str, StageRecord]
    is_restored: bool = False
    has_tasks: bool = True
    """Whether they are built as well."""

    def settled(self) -> ResolvedRun:
        """The run, once it is known how many blocks its workers share."""
        run = self.on_this_machine(math.inf).run()
        busy = self.on_this_machine(run.denoising.grid.size)
        return run if busy.config == run.config else busy.run()

    def on_this_machine(self, blocks: float) -> "_Resolving":
        """With workers and threads that share its cores, for so many blocks at most."""
        workers = self.config.workers.resolved(
            shares_threads=self._denoiser().shares_threads, blocks=blocks
        )
        return replace(self, config=self.config.model_copy(update={"workers": workers}))

    def _denoiser(self) -> Denoiser:
        """That which the config names."""
        config, kept = self.config, self.recorded.get(DENOISE)
        return config.denoise.denoiser(
            noise=config.noise,
            channels=self.image.shape[1],
            threads=config.workers.threads,
            probed=kept.probed if kept else None,
        )

    def run(self) -> ResolvedRun:
        """The run, with the denoiser that the config names."""
        denoiser = self._denoiser()
        if not self.is_restored:
            denoiser.check(roi_of(self.image).shape)
        return self.with_stages(denoiser)

    def with_stages(self, denoiser: Denoiser) -> ResolvedRun:
        """The run, with all stages and the pools for them."""
        config, image = self.config, self.image
        denoising = self._denoising(denoiser)
        cutting = Cutting(
            output=config.output,
            volume=volume_of(config.input, image),
            recorded=self.recorded,
            is_restored=self.is_restored,
        )
        limits = _limits(config)
        places = Places(self.run_dir, self.id)
        builder = StageBuilder(image, cutting, places, limits, denoising.base)
        tasks = config.tasks if self.has_tasks else ()
        stages = build_stages(denoising, tasks, builder)
        return ResolvedRun(
            config=config,
            image=image,
            denoiser=denoiser,
            id=self.id,
            run_dir=self.run_dir,
            stages=stages,
            pools=tuple(make_pools(config, stages, self.run_dir, self.id)),
            limits=limits,
            recorded=self.recorded,
        )

    def _denoising(self, denoiser: Denoiser) -> Denoising:
        config = self.config
        return Denoising(
            denoiser=denoiser,
            blocks=config.blocks,
            workers=config.workers.number,
            threads=config.workers.threads,
            tasks_bytes=SCIPY_BYTES if config.tasks else 0,
            source={
                "input.scene": config.input.scene,
                "input.select": config.input.select or None,
                "input.channels": config.input.channels,
                "input.axes": config.input.axes,
            },
        )
