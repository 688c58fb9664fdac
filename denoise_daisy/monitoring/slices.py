"""Slices of an image before and after, as pictures, of blocks that are done."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from denoise_daisy.geometry import Index
from denoise_daisy.reports.figures import picture
from denoise_daisy.resolved.run import ResolvedRun

EDGE = 192
"""Voxels of a slice along y and x, at most."""

PLACES = (0.5, 0.15, 0.85)
"""Where, as a share of the image's length along every axis; the middle first."""

MOST_CHANNELS = 3
"""That are shown of the first place; of the others the first channel is."""

MOST_KEPT = 24
"""Slices that are kept, so that a file is not read again for each page."""


@dataclass(frozen=True, slots=True)
class Slices:
    """A plane of a block before and after, and what was taken away."""

    title: str
    raw: str
    """A picture's URI, as the next two."""
    denoised: str
    residual: str
    low: str
    """The grey level that is black; `high` is white."""
    high: str
    most: str
    """The residual that is white; as much below 0 is black."""


@dataclass(slots=True)
class SliceReader:
    """Reads slices of a run; nothing of a block that is not done, and each once."""

    run: ResolvedRun
    _kept: dict[tuple[Index, int], Slices] = field(default_factory=dict)

    def of(self, done: np.ndarray) -> tuple[Slices, ...]:
        """Those nearest to some places, of blocks that are done, by flat index."""
        found = []
        for block, channel in self._wanted(done):
            if (block, channel) not in self._kept:
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[block, channel] = self._read(block, channel)
            found.append(self._kept[block, channel])
        return tuple(found)

    def _wanted(self, done: np.ndarray) -> Iterator[tuple[Index, int]]:
        grid = self.run.denoising.grid
        blocks = np.argwhere(done.reshape(grid.shape))
        if not len(blocks):
            return
        places = (blocks + 0.5) / grid.shape
        nearest = [((places - at) ** 2).sum(axis=1).argmin() for at in PLACES]
        for number, block in enumerate(dict.fromkeys(nearest)):
            index = tuple(int(i) for i in blocks[block])
            channels = min(MOST_CHANNELS, self.run.array.channels_written)
            for channel in range(1 if number else channels):
                yield index, channel

    def _read(self, block: Index, channel: int) -> Slices:
        array = self.run.array
        roi = self.run.denoising.grid.write_roi(block)
        at = [b + n // 2 for b, n in zip(roi.begin, roi.shape, strict=True)]
        part = [slice(at[0], at[0] + 1), slice(at[1], at[1] + 1)]
        for axis in (2, 3):
            begin = max(roi.begin[axis], at[axis] - EDGE // 2)
            part.append(slice(begin, min(roi.end[axis], begin + EDGE)))
        t, z, y, x = part
        only = slice(channel, channel + 1)
        raw = self.run.image[t, only, z, y, x][0, 0, 0].astype(float)
        there = [
            slice(s.start - b, s.stop - b)
            for s, b in zip(part, array.begin, strict=True)
        ]
        found = array.written_zarr[there[0], only, there[1], there[2], there[3]]
        denoised = np.asarray(found)[0, 0, 0].astype(float)
        name = array.channels[channel].name
        where = f"t {at[0]}, z {at[1]}, y {y.start}-{y.stop - 1}, x {x.start}"
        title = f"{name}, {where}-{x.stop - 1}" if name else f"{where}-{x.stop - 1}"
        return slices_of(title, raw, denoised)


def slices_of(title: str, raw: np.ndarray, denoised: np.ndarray) -> Slices:
    """Pictures of a plane before and after, on one scale; of what is no number, 0."""
    raw, denoised = (
        np.nan_to_num(plane, posinf=0, neginf=0) for plane in (raw, denoised)
    )
    low, high = (float(p) for p in np.percentile(raw, (0.2, 99.8)))
    if math.isclose(low, high):
        high = low + 1
    residual = raw - denoised
    most = float(np.percentile(np.abs(residual), 99.5)) or 1.0
    return Slices(
        title=title,
        raw=picture(raw, low, high),
        denoised=picture(denoised, low, high),
        residual=picture(residual, -most, most),
        low=f"{low:.4g}",
        high=f"{high:.4g}",
        most=f"{most:.3g}",
    )
