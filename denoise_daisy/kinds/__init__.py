"""Kinds of tasks, and how each is laid out in stages."""

from pathlib import Path

from denoise_daisy.config import Function, Label, Pyramid, Smooth, Task, Threshold
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import FULL_RESOLUTION
from denoise_daisy.kinds import function, label, pyramid, smooth, threshold
from denoise_daisy.kinds.site import Site
from denoise_daisy.planning import check_shape
from denoise_daisy.stages import Level, Stage

__all__ = ["Site", "lay_out"]


def lay_out(site: Site, denoise: Stage) -> tuple[Stage, ...]:
    """All stages of a run, each after those that it reads, the denoising first.

    Raises
    ------
    InputError
        A task can't work with what it reads.
    """
    site.offer_raw()
    site.add(denoise)
    site.offer("denoised", denoise)
    own = {task.input for task in site.config.tasks if isinstance(task, Pyramid)}
    if "denoised" not in own:
        _add_levels(site, "denoised", "pyramid", "pyramid")
    for task in site.config.tasks:
        _lay_out(task, site)
        if task.name in site.products and task.name not in own:
            _add_levels(site, task.name, f"{task.name}.pyramid", task.name)
    places: dict[Path, str] = {}
    names = [stage.name for stage in site.stages]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(
            f"Two tasks would both have stages of the names {sorted(twice)}. Expected"
            " names that differ; 'pyramid' is that of the output's own levels."
        )
    for stage in site.stages:
        if places.setdefault(stage.place, stage.task) != stage.task:
            raise InputError(
                f"Tasks {places[stage.place]!r} and {stage.task!r} would both write"
                f" {str(stage.place)!r}. Leave one of them away."
            )
        check_shape(
            stage.grid.block_shape,
            stage.unit,
            stage.grid.volume.shape,
            f"The block shape of {stage.name}",
        )
    return tuple(site.stages)


def _lay_out(task: Task, site: Site) -> None:
    match task:
        case Pyramid():
            pyramid.lay_out(task, site)
        case Smooth():
            smooth.lay_out(task, site)
        case Threshold():
            threshold.lay_out(task, site)
        case Label():
            label.lay_out(task, site)
        case Function():
            function.lay_out(task, site)


def _add_levels(site: Site, product: str, name: str, task: str) -> None:
    """The levels that an array gets unless a task of the config makes some."""
    made = site.products[product]
    if isinstance(made.source, Level) and made.source.frame == FULL_RESOLUTION:
        pyramid.lay_out_levels(site, made, name, task)
