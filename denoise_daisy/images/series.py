"""A series of files as one image: each holds one position along some axes."""

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.earlier import sampled
from denoise_daisy.images.file_identity import file_at, status_of
from denoise_daisy.images.image import Channel, FiveAxes, Image
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.stored_array import IMAGE_AXES

OPENED = 8
"""Files of a series that a process keeps open."""

THREADS = 8
"""Files that are looked at together: on a network each is waited for."""


@dataclass(frozen=True)
class SeriesImage(FiveAxes):
    """Files of one shape and type as an image of ``(t, c, z, y, x)``; picklable.

    A file is opened by its own format when it is first read.
    """

    path: str
    """With placeholders."""
    folder: str
    files: tuple[str, ...]
    """Relative to the folder; of the axes in the names, the last is the fastest."""
    axes: str
    """Those that the names tell, in the order t, c, z."""
    counts: tuple[int, ...]
    """Positions along these."""
    asked: dict[str, Any]
    """What the config says of each file."""
    file_shape: tuple[int, ...]
    """Voxels of a file along (t, c, z, y, x)."""
    pixel_type: str
    origin: tuple[int, ...]
    gaps: bool
    """Whether there are voxels that a file does not hold."""
    selected: tuple[int, ...]
    channels: tuple[Channel, ...]
    scale_um: tuple[float | None, ...]
    time_step_s: float | None
    identity: dict[str, str | int]
    warnings: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        named = dict(zip(self.axes, self.counts, strict=True))
        sizes = dict(zip(IMAGE_AXES, self.file_shape, strict=True)) | named
        sizes["c"] = len(self.selected)
        return tuple(sizes.values())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.pixel_type)

    @property
    def has_gaps(self) -> bool:
        """Whether there are voxels that a file does not hold."""
        return self.gaps

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        ranges = self.ranges(key)
        block = np.empty([len(r) for r in ranges], self.dtype)
        for name, place, part in self._parts(ranges):
            block[place] = self._file(name)[part]
        return block

    def valid(self, key: tuple[slice, ...]) -> np.ndarray | None:
        """Whether the files hold the voxels of five slices; None where they do."""
        if not self.gaps:
            return None
        ranges = self.ranges(key)
        mask = np.ones([len(r) for r in ranges], np.bool_)
        for name, place, part in self._parts(ranges):
            found = self._file(name).valid(part)
            mask[place] = True if found is None else found
        return None if mask.all() else mask

    def _parts(
        self, ranges: Sequence[range]
    ) -> Iterator[tuple[str, tuple[slice, ...], tuple[slice, ...]]]:
        """Of each file that holds some of a region: where it goes, and what of it."""
        if not all(map(len, ranges)):
            return
        along = dict(zip(IMAGE_AXES, ranges, strict=True))
        whole = {axis: slice(0, len(r)) for axis, r in along.items()}
        within = {axis: slice(r.start, r.stop) for axis, r in along.items()}
        within |= dict.fromkeys(self.axes, slice(0, 1))
        for places in itertools.product(*(range(len(along[a])) for a in self.axes)):
            index = 0
            for axis, count, i in zip(self.axes, self.counts, places, strict=True):
                position = along[axis][i]
                index = index * count + (
                    self.selected[position] if axis == "c" else position
                )
            here = {a: slice(i, i + 1) for a, i in zip(self.axes, places, strict=True)}
            yield (
                self.files[index],
                tuple((whole | here).values()),
                tuple(within.values()),
            )

    def _file(self, name: str) -> Image:
        """A file of the series, opened; the ones read longest ago are closed."""
        opened = self._opened
        if name not in opened:
            path = str(Path(self.folder, name))
            file = open_member(path, self.asked)
            check_alike(path, file, self.file_shape, self.pixel_type)
            if "c" not in self.axes:
                channels = tuple(file.channels[i] for i in self.selected)
                chosen: Any = file
                file = replace(chosen, selected=self.selected, channels=channels)
            opened[name] = file
            while len(opened) > OPENED:
                opened.popitem(last=False)
        opened.move_to_end(name)
        return opened[name]

    @cached_property
    def _opened(self) -> OrderedDict[str, Image]:
        return OrderedDict()

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the files as they are now; InputError if one is away."""
        return series_identity(self.folder, self.files, self.asked)

    def earlier_identity(self, times: int) -> dict[str, str | int] | None:
        """The files of these time points and some voxels; None if names tell no t."""
        if not self.axes.startswith("t"):
            return None
        each = len(self.files) // self.counts[0]
        told = series_identity(self.folder, self.files[: times * each], self.asked)
        return told | {"voxels_sha256": sampled(self, times)}

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_opened"}


def open_member(path: str, asked: dict[str, Any]) -> Image:
    """One of the files, by its own format."""
    # Which knows this module, too.
    from denoise_daisy.images.formats import open_plain  # noqa: PLC0415

    return open_plain(OneInput(path=path, **asked))


def check_alike(
    path: str, file: Image, shape: tuple[int, ...], pixel_type: str
) -> None:
    """Hold a file against what the first of its series is; raises InputError."""
    if (file.shape, file.dtype.name) != (shape, pixel_type):
        raise InputError(
            f"{path!r} has {' x '.join(map(str, file.shape))} voxels (t, c, z, y, x) of"
            f" {file.dtype.name}, but the first file of its series"
            f" {' x '.join(map(str, shape))} of {pixel_type}. Expected files that are"
            " all alike; put in its place what belongs there."
        )


def series_identity(
    folder: str, names: Sequence[str], asked: dict[str, Any]
) -> dict[str, str | int]:
    """How many files, and a checksum over name, size and time of change of each."""

    def known(name: str) -> tuple[Any, ...]:
        file = file_at(Path(folder, name))
        if file is not None:
            return name, *status_of(str(file))
        found = open_member(str(Path(folder, name)), asked)
        return name, sorted(found.current_identity().items())

    checksum = hashlib.sha256()
    with ThreadPoolExecutor(THREADS) as pool:
        for each in pool.map(known, names):
            checksum.update(repr(each).encode())
    return {"files": len(names), "sha256": checksum.hexdigest()}
