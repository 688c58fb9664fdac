"""TIFF files, and their compressed pages, through tifffile."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import is_file
from denoise_daisy.images.plain_bytes import read_exactly

JPEG = (6, 7, 34892, 33007)
"""Compressions whose segments need the tables of their page."""

MOST_KEPT = 64
"""Files of an image whose structure is kept."""


@contextmanager
def open_tiff(path: str) -> Iterator[tuple[Any, list[str]]]:
    """A file as tifffile has it, and what it says of it, meanwhile.

    Raises
    ------
    InputError
        It is away, or anything was raised: tifffile can't read it.
    """
    import tifffile  # noqa: PLC0415 - heavy

    if not is_file(path):
        raise InputError(
            f"The input {path!r} is no file that is there. Expected a TIFF; check"
            " input.path."
        )
    with (
        refusing(f"The input {path!r}"),
        _listening() as said,
        tifffile.TiffFile(path) as tif,
    ):
        yield tif, said


class CompressedPages:
    """Reads parts of pages, of which only the segments that are needed.

    A page is a file and the offset of its directory there.  Files are open only while
    they are read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, tuple[Any, Any]] = OrderedDict()

    def read(self, path: str, offset: int, part: Sequence[slice]) -> np.ndarray:
        """A part of a page, none of it empty, of the page's axes.

        Raises
        ------
        InputError
            It can't be read.
        """
        what = f"The page of {path!r} whose directory lies at byte {offset}"
        with (
            self._lock,
            refusing(what),
            _listening(),
            self._opened(path, offset) as (key, page),
        ):
            box = _box(key, part)
            tables = {}
            if key.compression in JPEG:
                tables = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
            found = np.full([len(r) for r in box], key.nodata, key.dtype)
            for number in _segments(key, box):
                data = self._segment(page, number)
                voxels, begin, shape = key.decode(data, number, **tables)
                if voxels is not None:
                    _put(found, box, voxels, begin, shape)
        return found.reshape([s.stop - s.start for s in part])

    @contextmanager
    def _opened(self, path: str, offset: int) -> Iterator[tuple[Any, Any]]:
        """A page, and one of the same file that tells what the image's are like."""
        import tifffile  # noqa: PLC0415 - heavy

        if path in self._files:
            tif, key = self._files[path]
            tif.filehandle.open()
        else:
            tif = tifffile.TiffFile(path)
        try:
            if path not in self._files:
                tif.filehandle.seek(offset)
                key = tifffile.TiffPage(tif, 0)
                self._files[path] = tif, key
                if len(self._files) > MOST_KEPT:
                    self._files.popitem(last=False)
            yield key, tifffile.TiffFrame(tif, 0, offset=offset, keyframe=key)
        finally:
            tif.filehandle.close()

    def _segment(self, page: Any, number: int) -> bytes | None:
        begin, count = page.dataoffsets[number], page.databytecounts[number]
        if not begin or not count:
            return None
        return read_exactly(page.parent.filehandle.fileno(), begin, count)


def _box(key: Any, part: Sequence[slice]) -> list[range]:
    """A part of a page along its samples, depth, length, width and samples again."""
    axes = "".join(
        axis
        for axis, n in zip(key.axes, key.shape, strict=True)
        if axis != "S" or n > 1
    )
    asked = dict(zip(axes, part, strict=True))
    separate = key.shaped[0] > 1
    places = ("S" if separate else "", "Z", "Y", "X", "" if separate else "S")
    return [
        range(*asked.get(axis, slice(None)).indices(n))
        for axis, n in zip(places, key.shaped, strict=True)
    ]


def _segments(key: Any, box: Sequence[range]) -> list[int]:
    """The numbers of the tiles or strips in which a part of a page lies."""
    tile = (
        (key.tiledepth, key.tilelength, key.tilewidth)
        if key.is_tiled
        else (1, key.rowsperstrip, key.imagewidth)
    )
    counts = [-(-n // edge) for n, edge in zip(key.shaped[1:4], tile, strict=True)]
    near = [box[0]] + [
        range(r.start // edge, (r.stop - 1) // edge + 1)
        for r, edge in zip(box[1:4], tile, strict=True)
    ]
    grid = np.ix_(*near)
    numbers = np.ravel_multi_index(np.broadcast_arrays(*grid), (key.shaped[0], *counts))
    return [int(number) for number in numbers.ravel()]


def _put(
    found: np.ndarray,
    box: Sequence[range],
    voxels: np.ndarray,
    begin: Sequence[int],
    shape: Sequence[int],
) -> None:
    """Copy what of a segment lies in a part of its page."""
    first = list(begin[:4])
    lengths = [1, *shape[:3]]
    into, out_of = [], []
    for r, start, length in zip(box[:4], first, lengths, strict=True):
        low, high = max(r.start, start), min(r.stop, start + length)
        if low >= high:
            return
        into.append(slice(low - r.start, high - r.start))
        out_of.append(slice(low - start, high - start))
    samples = slice(box[4].start, box[4].stop)
    segment = voxels.reshape(lengths[0], *voxels.shape)
    found[tuple(into)] = segment[(*out_of, samples)]


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What tifffile logs in this thread: collected, and not passed on."""
    said: list[str] = []
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        if record.levelno >= logging.WARNING:
            said.append(" ".join(record.getMessage().split()))
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(keep)
    try:
        yield said
    finally:
        logger.removeFilter(keep)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever tifffile raises, which of a damaged file is anything, in words."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise InputError(
            f"{what} can't be read: {' '.join(reason.split()).rstrip('.')[:300]}."
            " Expected a complete TIFF that tifffile can read; copy the file again, or"
            " export it again."
        ) from error
