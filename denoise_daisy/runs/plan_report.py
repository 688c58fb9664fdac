"""A plan in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from denoise_daisy.amounts import GIB, core_time, duration, size
from denoise_daisy.geometry import AXES
from denoise_daisy.runs.skipping import skip_text
from denoise_daisy.tasks.denoise import DENOISE

if TYPE_CHECKING:
    from denoise_daisy.runs.plan import (
        Alternative,
        Plan,
        PlannedImage,
        PlannedOutput,
        PlannedStage,
        PlannedTime,
        PlannedWorkers,
    )


def text_of(plan: "Plan") -> str:
    """What a person reads before a run."""
    lines = [f"{name:<8} {text}" for name, text in _rows(plan).items() if text]
    if plan.stages:
        lines += ["", "Then, each block as soon as what it reads is done:"]
        lines += map(_stage, plan.stages)
    if plan.alternatives:
        lines += ["", "With other settings:"]
        lines += map(_alternative, plan.alternatives)
    lines += [f"Warning: {warning}" for warning in plan.warnings]
    if plan.jobs:
        lines += ["", "Workers would be submitted so:", plan.jobs]
    return "\n".join(lines)


def _rows(plan: "Plan") -> dict[str, str]:
    image, output, blocks = plan.image, plan.output, plan.blocks
    channels = ", ".join(image.channels)
    shards = f", shards {_times(output.shards)}" if output.shards else ", no shards"
    now = " (calibrated now)" if plan.denoiser.is_calibrated_now else ""
    axes = zip(AXES, image.region, strict=True)
    return {
        "input": image.path,
        "image": f"{_times(image.shape)} (t c z y x) {image.dtype}: {channels}",
        "voxels": _voxels(image),
        "levels": _levels(image),
        "region": ", ".join(f"{axis} {begin}:{end}" for axis, (begin, end) in axes),
        "output": output.path,
        "array": (
            f"{output.dtype}, chunks {_times(output.chunks)}{shards} (t c z y x)"
        ),
        "size": _size(output),
        "denoise": _settings(plan.denoiser.settings),
        "engine": plan.denoiser.engine,
        "noise": plan.denoiser.noise_text + now,
        "blocks": (
            f"{blocks.count} ({_times(blocks.grid)}) of {_times(blocks.shape)} voxels"
            " (t z y x)"
        ),
        "context": _context(plan),
        "read": f"{blocks.read_factor:.2f} x the voxels written",
        "written": "1.00 x, every voxel by one block",
        "memory": f"{_gib(blocks.memory_bytes)} GiB per worker at most",
        "time": f"about {_seconds(blocks.seconds)} per block, on this machine",
        "hours": _hours(plan.time, plan.workers),
        "skip": _skip(plan),
        "measured": _measured(plan),
        "workers": (
            f"{_workers(plan.workers, plan.workers.kind)},"
            f" {plan.workers.threads} threads each"
        ),
        "done": f"{blocks.done} blocks",
        "left": _left(plan),
    }


def _voxels(image: "PlannedImage") -> str:
    """Their size, as far as it was recorded."""
    sizes = ["?" if size is None else f"{size:.4g}" for size in image.voxel_size_um]
    size = " x ".join(sizes) + " um (z y x)"
    if image.shape[0] == 1:
        return size
    step = image.time_step_s
    return f"{size}, time step {'?' if step is None else f'{step:.4g} s'}"


def _levels(image: "PlannedImage") -> str:
    """The range of each channel's samples; nothing where none were taken."""
    pairs = zip(image.channels, image.grey_levels, strict=False)
    ranges = [f"{name} {ends[0]:g} to {ends[1]:g}" for name, ends in pairs if ends]
    return f"{', '.join(ranges)} (in samples)" if ranges else ""


def _size(output: "PlannedOutput") -> str:
    about = ""
    if output.compressed_bytes is not None:
        about = f", about {size(output.compressed_bytes)} compressed"
    return (
        f"{size(output.bytes)} uncompressed in {output.files} files{about};"
        f" {size(output.free_bytes)} free"
    )


def _settings(settings: Mapping[str, Any]) -> str:
    """The section `denoise`: its kind, then what it says by key."""
    told = [_setting(key, value) for key, value in settings.items() if key != "kind"]
    return f"{settings['kind']}: {', '.join(filter(None, told))}"


def _setting(key: str, value: object) -> str:
    if isinstance(value, Mapping):
        value = " ".join(f"{axis} {n:g}" for axis, n in value.items())
    return f"{key} {value}"


def _context(plan: "Plan") -> str:
    blocks = plan.blocks
    mirrored = zip(AXES, blocks.mirrored, strict=True)
    layers = ", ".join(f"{axis} {n}" for axis, n in mirrored if n)
    return (
        f"{_times(blocks.context)} voxels each side, on a grid of"
        f" {_times(blocks.stride)}; "
        + ("exact" if blocks.is_exact else "NOT exact")
        + (f"; layers mirrored at the far end: {layers}" if layers else "")
    )


def _hours(time: "PlannedTime", workers: "PlannedWorkers") -> str:
    if not time.hours:
        return ""
    of_tasks = [
        f"{task} {core_time(hours * 3600)}"
        for task, hours in time.core_hours_by_task.items()
    ]
    parts = f" ({', '.join(of_tasks)})" if len(of_tasks) > 1 else ""
    unknown = ", ".join(time.not_known)
    return (
        f"about {duration(time.hours * 3600)} in all with all workers at work,"
        f" {core_time(time.core_hours * 3600)}{parts}"
        + (f"; not counted, as not known beforehand: {unknown}" if unknown else "")
    )


def _skip(plan: "Plan") -> str:
    """Blocks that will not be denoised, and what `hours` does not count for them."""
    if plan.skipped is None or not plan.skipped.share:
        return ""
    share, hours = plan.skipped.share, plan.time.core_hours_by_task.get(DENOISE)
    if hours is not None:
        hours = hours / (1 - share) if share < 1 else None
    return skip_text(plan.skipped, plan.blocks.count, hours)


def _measured(plan: "Plan") -> str:
    """What the block took that was done for it."""
    if plan.measured is None:
        return ""
    took = plan.measured
    return (
        f"block {list(took.block)} took {duration(took.seconds)} and"
        f" {_gib(took.memory_bytes)} GiB; time, hours and size are from that"
    )


def _left(plan: "Plan") -> str:
    left = plan.blocks.count - plan.blocks.done
    about = ""
    if plan.blocks.done and plan.time.hours_left:
        about = f", about {duration(plan.time.hours_left * 3600)}"
    return f"{left} blocks{about}"


def _workers(workers: "PlannedWorkers", kind: str) -> str:
    return " ".join(filter(None, (str(workers.count), kind, workers.jobs)))


def _stage(stage: "PlannedStage") -> str:
    reads = ", ".join(stage.reads) or "raw"
    again = ", done again" if stage.is_done_again else ""
    asked = "" if stage.is_asked else ", not asked for"
    made = f"{_times(stage.shape)} {stage.dtype} to" if stage.shape else "to"
    by = ""
    if stage.own_workers:
        own = stage.own_workers
        by = f", by {_workers(own, f'{own.kind} workers of its own')}"
    return (
        f"{stage.name}: {stage.blocks} blocks of {_times(stage.block_shape)}"
        f" ({stage.done} done{again}{asked}), reads {reads}, {made} {stage.place}{by};"
        f" {_needs(stage)}"
    )


def _needs(stage: "PlannedStage") -> str:
    """What a block takes, as far as that can be known."""
    if stage.memory_bytes is None or stage.seconds is None:
        return "memory and time of a block not known beforehand"
    gib = f"{_gib(stage.memory_bytes)} GiB per worker at most"
    return f"{gib}, about {_seconds(stage.seconds)} per block"


def _alternative(other: "Alternative") -> str:
    return (
        f"{other.setting}: {other.blocks} blocks, {other.read_factor:.2f} x read,"
        f" {other.workers} workers with {_gib(other.memory_bytes)} GiB at most, about"
        f" {duration(other.hours * 3600)}, {core_time(other.core_hours * 3600)}"
    )


def _seconds(seconds: float | None) -> str:
    return "?" if seconds is None else duration(seconds)


def _gib(number: int) -> str:
    return f"{number / GIB:.2f}"


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
