"""Where a report looks: the same window of a few planes, spread over T and Z.

They depend on nothing but the run, so that a report made anew shows the same.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk, UnreadableError
from denoise_daisy.images.image import valid_in

TIMES, DEPTHS = 5, 5
"""Planes at the middle depth over T, and at the middle time point over Z."""

EDGE = 256
"""Of a window, in voxels."""

WINDOWS = 3
"""Along y and along x, of which one is chosen."""

CELL = 4
"""Edge of the cells whose means tell structure from noise, in voxels."""


@dataclass(frozen=True, eq=False)
class Place:
    """A window of a plane, before and after; arrays are ``(c, y, x)``."""

    roi: Roi
    raw: np.ndarray | None
    """None where it can't be read."""
    denoised: np.ndarray
    has_gaps: bool = False
    """Whether the file does not hold all of it: then its residual tells little."""
    as_is: float = 0.0
    """Share of it that was written as it is, and not denoised."""

    @property
    def plane(self) -> tuple[int, int]:
        """Its t and z."""
        t, z, _, _ = self.roi.begin
        return t, z


def planes(volume: Roi) -> list[tuple[int, int]]:
    """The planes that are looked at, as ``(t, z)``, the middle one first."""
    (t0, z0, _, _), (times, depths, _, _) = volume.begin, volume.shape
    middle = t0 + (times - 1) // 2, z0 + (depths - 1) // 2
    over_t = [(t0 + t, middle[1]) for t in spread(times, TIMES)]
    over_z = [(middle[0], z0 + z) for z in spread(depths, DEPTHS)]
    return list(dict.fromkeys([middle, *over_t, *over_z]))


def spread(count: int, most: int) -> list[int]:
    """Some of so many positions, with the first, a middle one and the last."""
    ends = np.linspace(0, count - 1, min(most, count))
    return sorted({int(n) for n in ends} | {(count - 1) // 2})


def windows(volume: Roi) -> list[tuple[range, range]]:
    """Where a window may lie in a plane, along y and x, the middle one first."""
    (_, _, y0, x0), (_, _, height, width) = volume.begin, volume.shape
    rows, columns = (
        [
            range(begin + start, begin + start + min(EDGE, extent))
            for start in _starts(extent)
        ]
        for begin, extent in ((y0, height), (x0, width))
    )
    found = list(itertools.product(rows, columns))
    middle = (rows[len(rows) // 2], columns[len(columns) // 2])
    return [middle, *(pair for pair in found if pair != middle)]


def _starts(extent: int) -> list[int]:
    edge = min(EDGE, extent)
    starts = np.linspace(0, extent - edge, WINDOWS).astype(int)
    return sorted(set(starts.tolist()))


def window_roi(plane: tuple[int, int], window: tuple[range, range]) -> Roi:
    """A window of a plane."""
    y, x = window
    return Roi((*plane, y.start, x.start), (1, 1, len(y), len(x)))


def choose_window(disk: OnDisk, wanted: Sequence[tuple[int, int]]) -> Roi | None:
    """The window with most structure, of those that are done in most planes.

    Of these it is one of those that were denoised as a whole in most planes.  It is
    given as a Roi of the first plane in which it is done; None where none is anywhere.
    """
    found: list[tuple[tuple[int, int], float, Roi]] = []
    for window in windows(disk.volume):
        rois = [window_roi(plane, window) for plane in wanted]
        done = [roi for roi in rois if disk.is_done(roi)]
        if done:
            denoised = sum(not disk.left_as_is(roi) for roi in done)
            counts = len(done), denoised
            found.append((counts, _structure(disk, done[0]), done[0]))
    if not found:
        return None
    most = max(counts for counts, _, _ in found)
    return max((f for f in found if f[0] == most), key=lambda f: f[1])[2]


def _structure(disk: OnDisk, roi: Roi) -> float:
    """How much the means of small cells differ, over their level; of all channels."""
    if not disk.input_problem and valid_in(disk.run.image, roi) is not None:
        return -0.5
    try:
        voxels = disk.denoised(roi)[0, :, 0].astype(np.float64)
    except UnreadableError:
        return -1.0
    if not np.isfinite(voxels).all():
        return -1.0
    height, width = (max(1, min(CELL, n)) for n in voxels.shape[1:])
    rows, columns = voxels.shape[1] // height, voxels.shape[2] // width
    cut = voxels[:, : rows * height, : columns * width]
    cells = cut.reshape(-1, rows, height, columns, width).mean(axis=(2, 4))
    extent = np.maximum(np.abs(cells).mean(axis=(1, 2)), 1e-12)
    return float(np.sum(cells.std(axis=(1, 2)) / extent))


def look(disk: OnDisk, allowed: Allowance) -> list[Place]:
    """The chosen window in all planes in which it is done and can be read."""
    wanted = planes(disk.volume)
    window = choose_window(disk, wanted)
    if window is None:
        allowed.leave_out("Pictures and residuals", "nothing of them is done")
        return []
    _, _, y, x = (range(b, e) for b, e in zip(window.begin, window.end, strict=True))
    found = []
    for plane in wanted:
        roi, where = window_roi(plane, (y, x)), f"t {plane[0]}, z {plane[1]}"
        if allowed.left <= 0:
            allowed.leave_out(f"The plane at {where}", "no time was left")
        elif not disk.is_done(roi):
            allowed.leave_out(f"The plane at {where}", "it is not done")
        else:
            found += _place(disk, roi, where, allowed)
    return found


def _place(disk: OnDisk, roi: Roi, where: str, allowed: Allowance) -> list[Place]:
    try:
        denoised = disk.denoised(roi)[0, :, 0]
    except UnreadableError as error:
        allowed.leave_out(f"The plane at {where}", str(error))
        return []
    raw = None
    if not disk.input_problem:
        try:
            raw = disk.raw(roi)[0, :, 0]
        except UnreadableError as error:
            allowed.leave_out(f"The raw plane at {where}", str(error))
    if not all(np.isfinite(v).all() for v in (raw, denoised) if v is not None):
        allowed.leave_out(f"The plane at {where}", "it holds voxels that are no number")
        return []
    has_gaps = raw is not None and valid_in(disk.run.image, roi) is not None
    if has_gaps:
        allowed.leave_out(f"The residual at {where}", "the file has gaps there")
    as_is = disk.left_as_is(roi)
    if raw is not None and 0 < as_is < 1:
        allowed.leave_out(
            f"The residual at {where}", f"{as_is:.0%} of it was not to be denoised"
        )
    return [Place(roi, raw, denoised, has_gaps, as_is)]
