"""What a report shows of the image: planes, and projections along z."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk, UnreadableError, written
from denoise_daisy.assessing.places import Place
from denoise_daisy.blockwise.level import Level

SHOWN = 5
"""Planes that are shown."""

CHANNELS = 6
"""That are shown."""

MOST_VOXELS = 8_000_000
"""All channels together, of what is read for a projection."""

MOST_PIXELS = 512
"""Along y and along x, of a projection of the whole field."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture of one channel: before, after, and what was taken away, ``(y, x)``."""

    channel: str
    title: str
    raw: np.ndarray | None
    denoised: np.ndarray
    residual: np.ndarray | None
    is_projection: bool = False


Projection = tuple[str, np.ndarray | None, np.ndarray, np.ndarray | None]
"""A title; the largest of the raw and of the denoised levels along z, and the mean of
the residual, ``(c, y, x)``."""


def views(disk: OnDisk, places: Sequence[Place], allowed: Allowance) -> list[View]:
    """Planes in the chosen window, and projections, of each channel."""
    names = disk.channels
    if len(names) > CHANNELS:
        allowed.leave_out(
            "Pictures of further channels", f"the first {CHANNELS} are shown"
        )
    found = []
    projected = allowed.measured(
        "Projections along z",
        lambda: list(_projections(disk, places, allowed)),
        list[Projection](),
    )
    for c, name in enumerate(names[:CHANNELS]):
        found += [_plane(place, c, name) for place in _shown(places)]
        for title, raw, denoised, residual in projected:
            parts = (None if v is None else v[c] for v in (raw, denoised, residual))
            before, after, rest = parts
            if after is not None:
                found.append(View(name, title, before, after, rest, is_projection=True))
    return found


def _shown(places: Sequence[Place]) -> list[Place]:
    """The middle one, and the ends over T and over Z."""
    if not places:
        return []
    by_t, by_z = (sorted(places, key=lambda p: p.plane[i]) for i in (0, 1))
    ends = [places[0], by_t[0], by_t[-1], by_z[0], by_z[-1]]
    return sorted({id(p): p for p in ends}.values(), key=lambda p: p.plane)[:SHOWN]


def _plane(place: Place, c: int, name: str) -> View:
    t, z = place.plane
    denoised = place.denoised[c].astype(np.float64)
    raw = None if place.raw is None else place.raw[c].astype(np.float64)
    residual = None if raw is None else raw - denoised
    return View(name, f"t {t}, z {z}", raw, denoised, residual)


def _projections(
    disk: OnDisk, places: Sequence[Place], allowed: Allowance
) -> Iterator[Projection]:
    if disk.volume.shape[1] < 2 or not places:
        return
    t = places[0].plane[0]
    whole = _of_time(disk.volume, t)
    channels = disk.run.image.shape[1]
    if math.prod(whole.shape) * channels <= MOST_VOXELS:
        if disk.is_done(whole):
            yield _projection(disk, whole, f"all of t {t}", allowed)
        return
    level = _level(disk)
    if level is not None:
        roi = level.transform.from_image(whole).intersect(level.roi)
        try:
            levels = written(level, roi)[0].max(axis=1)
            yield f"all of t {t}, by level {level.path.name}", None, levels, None
        except UnreadableError as error:
            allowed.leave_out("A projection of the whole field", str(error))
    part = _window(disk, places[0].roi)
    if disk.is_done(part):
        z = f"z {part.begin[1]}:{part.end[1]}"
        yield _projection(disk, part, f"the window at t {t}, {z}", allowed)


def _projection(disk: OnDisk, roi: Roi, title: str, allowed: Allowance) -> Projection:
    denoised, raw = disk.denoised(roi)[0], None
    if not disk.input_problem:
        try:
            raw = disk.raw(roi)[0]
        except UnreadableError as error:
            allowed.leave_out("The raw image's projection", str(error))
    after = denoised.max(axis=1)
    if raw is None:
        return title, None, after, None
    residual = raw.mean(axis=1, dtype=np.float64) - denoised.mean(
        axis=1, dtype=np.float64
    )
    return title, raw.max(axis=1), after, residual


def _of_time(roi: Roi, t: int) -> Roi:
    return Roi((t, *roi.begin[1:]), (1, *roi.shape[1:]))


def _window(disk: OnDisk, roi: Roi) -> Roi:
    """A window, and as many planes around it as may be read."""
    channels = disk.run.image.shape[1]
    t, z, y, x = roi.begin
    first, last = disk.volume.begin[1], disk.volume.end[1]
    depth = max(1, MOST_VOXELS // (math.prod(roi.shape) * channels))
    depth = min(depth, last - first)
    begin = min(max(first, z - depth // 2), last - depth)
    return Roi((t, begin, y, x), (1, depth, *roi.shape[2:]))


def _level(disk: OnDisk) -> Level | None:
    """The finest level of the output's pyramid that may be read whole; None of none."""
    prefix = "pyramid."
    levels = [
        stage.array
        for stage in disk.run.stages
        if stage.name.startswith(prefix) and stage.array is not None
    ]
    fitting = [
        level
        for level in levels
        if max(level.roi.shape[2:]) <= MOST_PIXELS
        and math.prod(level.roi.shape[1:]) * level.layout.shape[1] <= MOST_VOXELS
        and level.roi.shape[0] == disk.volume.shape[0]
    ]
    return max(fitting, key=lambda level: math.prod(level.roi.shape), default=None)
