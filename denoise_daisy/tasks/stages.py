"""All stages of a run, the denoising first, each after those that it reads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from denoise_daisy.blockwise.block_shape import check_shape
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import FULL_RESOLUTION
from denoise_daisy.tasks.base import AnyTask
from denoise_daisy.tasks.builder import StageBuilder
from denoise_daisy.tasks.chunking import with_chunks
from denoise_daisy.tasks.denoise import Denoising, build_denoise
from denoise_daisy.tasks.places import TABLE
from denoise_daisy.tasks.pyramid import Pyramid, build_levels


def build_stages(
    denoising: Denoising, tasks: Sequence[AnyTask], builder: StageBuilder
) -> tuple[Stage, ...]:
    """The stages of the denoising and of all tasks, with the levels that they get.

    Raises
    ------
    InputError
        The denoising can't work with the image, or a task with what it reads.
    """
    builder.offer_raw()
    work = denoising.workload(builder.image)
    cutting = with_chunks(denoising, tasks, builder, work)
    builder = replace(builder, cutting=cutting)
    build_denoise(denoising, builder, work)
    with_own_levels = {task.input for task in tasks if isinstance(task, Pyramid)}
    if "denoised" not in with_own_levels:
        build_levels(builder, "denoised", "pyramid", "pyramid")
    for task in tasks:
        task.build(builder)
        if not task.keep or task.name in with_own_levels:
            continue
        if _is_full_resolution(builder, task.name):
            build_levels(builder, task.name, f"{task.name}.pyramid", task.name)
    _check(builder.stages)
    for task in tasks:
        if not task.keep:
            _check_not_kept(task, builder.stages, with_own_levels)
    return tuple(builder.stages)


def deletable(task: str, stages: Sequence[Stage]) -> list[Stage]:
    """The stages of a task that go if it is not kept: a table stays, it is small."""
    return [s for s in stages if s.task == task and not s.name.endswith(TABLE)]


def readers_of(task: str, stages: Sequence[Stage]) -> list[Stage]:
    """The stages of other tasks that read one, and its table."""
    own = {stage.name for stage in deletable(task, stages)}
    return [s for s in stages if s.name not in own and own.intersection(s.after)]


def _check_not_kept(
    task: AnyTask, stages: Sequence[Stage], with_levels: set[str]
) -> None:
    """Refuse to throw away what nobody else would have had, or half of an image."""
    if isinstance(task, Pyramid):
        raise InputError(
            f"Task {task.name!r} has keep: false, and its levels are a part of"
            f" {task.input!r}, which names them to viewers. Leave keep away."
        )
    if task.name in with_levels:
        raise InputError(
            f"Task {task.name!r} has keep: false, and a pyramid, whose levels are a"
            " part of its output. Leave one of them away."
        )
    if not readers_of(task.name, stages):
        raise InputError(
            f"Task {task.name!r} has keep: false, and nothing reads it: all it makes"
            " would be thrown away. Leave keep away, or the task."
        )


def _is_full_resolution(builder: StageBuilder, name: str) -> bool:
    product = builder.products.get(name)
    return (
        product is not None
        and product.source is not None
        and product.source.transform == FULL_RESOLUTION
    )


def _check(stages: Sequence[Stage]) -> None:
    """Refuse stages of one name, in one place, or whose blocks would share files."""
    names = [stage.name for stage in stages]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(
            f"Two tasks would both have stages of the names {sorted(twice)}. Expected"
            " names that differ; 'pyramid' is that of the output's own levels."
        )
    places: dict[Path, str] = {}
    for stage in stages:
        place = stage.target.place
        if places.setdefault(place, stage.task) != stage.task:
            raise InputError(
                f"Tasks {places[place]!r} and {stage.task!r} would both write"
                f" {str(place)!r}. Leave one of them away."
            )
        check_shape(
            stage.grid.block_shape,
            stage.file_shape,
            stage.grid.volume.shape,
            f"The block shape of {stage.name}",
        )
