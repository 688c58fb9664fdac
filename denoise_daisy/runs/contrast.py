"""How viewers show an image once it is written: windows of grey levels, from samples.

At a start nobody knows what will be written, and a window is what the file has or what
a plane of it suggests.  Both are of raw noise, whose tails the denoised image has not.
Once all of an image's blocks are done, its windows are found in what lies on disk: the
same whenever they are looked for, by however many starts it was written.
"""

import itertools
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.blockwise.level import Level
from denoise_daisy.outputs.ome_groups import ome_of, own_attributes, update_group
from denoise_daisy.outputs.ome_zarr import LEVEL, open_written
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger

BLACK, WHITE = 0.1, 99.9
"""Percentiles: of all samples, and of the brightest plane's."""

MOST_SAMPLES = 1 << 24
"""Voxels of a level that is sampled, if there is such a one; and samples at most."""

PLANES = 9
"""Of time points, and of positions along z, at most."""

EDGE = 4096
"""Of a larger plane, its middle is read, so long."""

ALL = slice(None)

NOTED = "contrast"
"""Key of what is noted of it in a group."""

WRITTEN = "of what was written"

logger = logging.getLogger("denoise_daisy")


def show_written(
    run: ResolvedRun, ledgers: Mapping[str, Ledger], left_alone: Collection[str]
) -> None:
    """Give images whose blocks are done windows of what was written.

    It is for viewers, and whatever hinders it is only logged.  Metadata are replaced
    whole: a process that is killed here leaves the windows of the start, and the next
    start finds these.  Stages `left_alone`, by name, are not of this start.
    """
    for group, levels in _images(run, ledgers, left_alone).items():
        try:
            own = own_attributes(group)
            if own and own.get("run") == run.id and own.get(NOTED) != WRITTEN:
                _show(group, levels, has_gaps=run.image.has_gaps)
        except Exception as error:  # noqa: BLE001 - no part of a run
            logger.warning("%s keeps its first contrast: %s.", group, error)


def _images(
    run: ResolvedRun, ledgers: Mapping[str, Ledger], left_alone: Collection[str]
) -> dict[Path, list[Level]]:
    """Of each group of an image whose full resolution is done, the levels that are."""
    groups: dict[Path, list[Level]] = {}
    for stage in run.stages:
        array, ledger = stage.array, ledgers.get(stage.name)
        if array is None or array.is_labels or ledger is None:
            continue
        group = array.path.parent
        is_done = ledger.done_count == stage.grid.size and array.is_there
        is_next = array.path.name == LEVEL or group in groups
        if is_done and is_next and stage.name not in left_alone:
            groups.setdefault(group, []).append(array)
    return groups


def _show(group: Path, levels: Sequence[Level], *, has_gaps: bool) -> None:
    omero: dict[str, Any] = ome_of(group)["omero"]
    # Cells at the rim of a gap are means with its zeros.
    level = levels[0] if has_gaps else _affordable(levels)
    shown = windows(open_written(level.path), without_zeros=has_gaps)
    is_float = level.dtype == "float32"
    least = min(low for low, _ in shown)
    most = max(high for _, high in shown)
    for channel, (low, high) in zip(omero["channels"], shown, strict=True):
        window = channel["window"]
        start, end = _within(low, high, None if is_float else window["max"])
        channel["window"] = {**window, "start": start, "end": end}
        if is_float:
            limits = {"min": min(least, start), "max": max(most, end)}
            channel["window"].update(limits)
    update_group(group, {"omero": omero}, {NOTED: WRITTEN})


def _affordable(levels: Sequence[Level]) -> Level:
    """The finest level of which all can be read, or else the coarsest."""
    fitting = (lv for lv in levels if math.prod(lv.layout.shape) <= MOST_SAMPLES)
    return next(fitting, levels[-1])


def _within(low: float, high: float, most: float | None) -> tuple[float, float]:
    """A window that is not empty, within the range that an integer type has."""
    if most is not None:
        low = min(low, most - 1)
        return low, max(high, low + 1)
    # Of floats that are all alike, the window around them.
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def windows(array: Any, *, without_zeros: bool = False) -> list[tuple[float, float]]:
    """Black and white of each channel of an array, from planes spread over t and z."""
    t, channels, z, *yx = array.shape
    planes = list(itertools.product(_spread(t), _spread(z)))
    y, x = (slice((n - EDGE) // 2, (n + EDGE) // 2) if n > EDGE else ALL for n in yx)
    found = []
    for channel in range(channels):
        kept = [_sample(array[i, channel, j, y, x]) for i, j in planes]
        if without_zeros:
            kept = [plane[plane != 0] for plane in kept]
        kept = [plane for plane in kept if plane.size]
        if not kept:
            found.append((0.0, 1.0))
            continue
        low = np.percentile(np.concatenate(kept), BLACK)
        high = max(np.percentile(plane, WHITE) for plane in kept)
        found.append((float(low), float(max(low, high))))
    return found


def _spread(count: int) -> list[int]:
    """Positions in the middle of equal parts of an axis."""
    number = min(count, PLANES)
    return [(2 * i + 1) * count // (2 * number) for i in range(number)]


def _sample(plane: np.ndarray) -> np.ndarray:
    """Its finite voxels, thinned out where they are many."""
    step = max(1, math.isqrt(plane.size * PLANES**2 // MOST_SAMPLES))
    values: np.ndarray = np.asarray(plane)[::step, ::step].ravel()
    finite: np.ndarray = values[np.isfinite(values)]
    return finite
