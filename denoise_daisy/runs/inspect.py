"""`inspect`: what a file holds, in words and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denoise_daisy.amounts import size
from denoise_daisy.images.formats import inspect_image
from denoise_daisy.images.inspection import ChannelFacts, FileFacts, SceneFacts
from denoise_daisy.reports.notebook import Shown

MOST_SCENES = 12
"""Scenes that are described one by one."""


@dataclass(frozen=True)
class Inspection(Shown):
    """What a file holds; as text what a person wants to know before a run."""

    facts: FileFacts

    def __str__(self) -> str:
        return "\n".join(_lines(self.facts))

    @property
    def json(self) -> dict[str, Any]:
        """Plain values, under the names of `FileFacts`."""
        return asdict(self.facts)


def inspect(path: str | Path) -> Inspection:
    """What a file holds; what its ending does not tell is a CZI.

    Its `facts` are plain values: format, scenes with shapes ``(t, c, z, y, x)``, types,
    channels and grey levels, voxel sizes in micrometer, the time step in seconds.

    Raises
    ------
    InputError
        It is absent, of another format, cut short or damaged.
    """
    return Inspection(inspect_image(str(path)))


def _lines(file: FileFacts) -> Iterator[str]:
    scenes = file.scenes
    rows = {
        "file": f"{file.path} ({file.format}, {size(file.bytes)}, whole)",
        "written by": file.software or "not recorded",
        "acquired": file.acquired or "not recorded",
        "processing": ", then ".join(file.processing) or "none recorded",
        "compression": _compressions(file),
        "voxel size": _voxel_size(file),
        "time step": _seconds(file.time_step_s),
        "scenes": str(len(scenes)) if scenes[0].scene is not None else "none",
    }
    for name, text in rows.items():
        yield f"{name:<11} {text}"
    for scene in scenes[:MOST_SCENES]:
        yield from _scene_lines(scene)
    if len(scenes) > MOST_SCENES:
        yield ""
        yield f"... and {len(scenes) - MOST_SCENES} scenes more; --json has them all"
    warnings = {w: None for scene in scenes for w in scene.warnings}
    if warnings:
        yield ""
    for warning in warnings:
        yield f"Warning: {warning}"


def _scene_lines(scene: SceneFacts) -> Iterator[str]:
    yield ""
    if scene.scene is not None:
        yield f"{'scene':<11} {scene.scene}"
    if scene.shape is not None:
        shape = " x ".join(map(str, scene.shape))
        yield f"{'image':<11} {shape} (t c z y x) {scene.dtype}"
    ranges = ", ".join(
        f"{d} {begin}:{end}" for d, (begin, end) in sorted(scene.ranges.items())
    )
    yield f"{'ranges':<11} {ranges} (as the file counts)"
    if scene.problem:
        yield f"{'problem':<11} can't be denoised: {scene.problem}"
        return
    if scene.tiles and scene.tiles > 1:
        yield f"{'tiles':<11} {scene.tiles} per plane"
    for channel in scene.channels:
        yield f"{'channel':<11} {channel.name}: {_levels(channel)}"


def _levels(channel: ChannelFacts) -> str:
    if channel.grey_levels is None:
        return "grey levels not looked at"
    low, high = channel.grey_levels
    return f"grey levels {low:g} to {high:g} in some of its planes"


def _compressions(file: FileFacts) -> str:
    parts = [f"{name} ({count} tiles)" for name, count in file.compressions.items()]
    copies = file.reduced_copies
    return ", ".join(parts) + (f"; {copies} of them are reduced copies" * bool(copies))


def _voxel_size(file: FileFacts) -> str:
    sizes = (
        f"{axis} {f'{size:.4g}' if size else 'not recorded'}"
        for axis, size in file.voxel_size_um.items()
    )
    return ", ".join(sizes) + " (micrometer)"


def _seconds(step: float | None) -> str:
    return f"{step:.4g} s" if step else "not recorded"
