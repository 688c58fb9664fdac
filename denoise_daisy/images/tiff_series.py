"""What series of pages a TIFF has, and where each of their pages lies."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images import tiff_metadata
from denoise_daisy.images.tiff_file import open_tiff

Run = tuple[int, int, int, int]
"""Pages at equal distances: the number of their file, the offset of the first, the step
to the next, and how many they are."""

MOST_SAID = 3
"""Messages of tifffile that are passed on."""

RGB = 2

BROKEN = re.compile(
    "invalid page offset|offset to (first )?page|circular reference|corrupted tag list"
    "|corrupted file|incompletely written|missing required tags"
    "|OME series (?!expected|level)|shaped series (?!metadata does)"
)
"""What tifffile says where it goes on with less than the file should hold."""


@dataclass(frozen=True)
class Series:
    """Pages that make up an array, or one position of it."""

    name: str
    axes: str
    """As tifffile has them: S are the samples of a voxel, I and Q are unknown."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    big_endian: bool
    rgb: bool
    siblings: tuple[str, ...]
    """Other files that have some of its pages, by name; number 0 is the file itself."""
    plain: bool
    """Whether all pages are uncompressed, each in one piece."""
    page_ndim: int
    """How many of the last axes a page has."""
    pages: tuple[Run, ...]
    """Where the voxels of plain pages begin, the directories of others."""
    facts: tiff_metadata.TiffFacts
    notes: tuple[str, ...]
    """What tifffile says of the file."""


def names_of(path: str) -> list[str]:
    """The names of a file's series, each position of it being one.

    Raises
    ------
    InputError
        It can't be read.
    """
    with _opened(path) as (_, scenes, _):
        return [name for name, _, _ in scenes]


def read_series(path: str, number: int | None) -> Series:
    """One of a file's series; None is the only one.

    Raises
    ------
    InputError
        It can't be read, or there is no such series, or some of its pages are missing.
    """
    with _opened(path) as (tif, scenes, said):
        if (number is None and len(scenes) > 1) or (number or 0) >= len(scenes):
            listed = ", ".join(f"{i} {name!r}" for i, (name, _, _) in enumerate(scenes))
            raise InputError(
                f"input.scene is {'null' if number is None else number}, but {path!r}"
                f" has {len(scenes)} scenes: {listed[:300]}. Expected the number of"
                " one."
            )
        name, series, position = scenes[number or 0]
        return _described(path, tif, (name, series, position, number or 0), said)


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, list[tuple[str, Any, Any]], list[str]]]:
    """A file, its scenes (name, series, position) and what tifffile says of it."""
    with open_tiff(path) as (tif, said):
        _check_siblings(path, tif)
        scenes = _scenes(tif)
        broken = [text for text in said if BROKEN.search(text)]
        if broken or not scenes:
            raise ValueError(broken[0] if broken else "it has no pages")
        yield tif, scenes, said


def _scenes(tif: Any) -> list[tuple[str, Any, Any]]:
    """Its series without reduced copies; each position of those with several."""
    full = [s for s in tif.series if not s.keyframe.is_reduced] or tif.series
    found: list[tuple[str, Any, Any]] = []
    for series in full:
        axis = series.axes.find("P" if series.kind == "lsm" else "R")
        if axis < 0:
            found.append((series.name, series, None))
        else:
            found += [
                (f"position {i}", series, (axis, i)) for i in range(series.shape[axis])
            ]
    return found


def _check_siblings(path: str, tif: Any) -> None:
    """Refuse a file whose pages lie in others that are away."""
    root = tiff_metadata.ome_root(tif.pages.first.description)
    if root is None:
        return
    for only in tiff_metadata.named(root, "BinaryOnly"):
        raise InputError(
            f"The input {path!r} is one of several files that belong together, and what"
            f" its pages are stands in {only.get('MetadataFile')!r}. Expected the file"
            " that says it; set input.path to that one if it is a TIFF."
        )
    names = {
        uuid.get("FileName", Path(path).name)
        for uuid in root.iter()
        if uuid.tag.rpartition("}")[2] == "UUID" and uuid.text != root.get("UUID")
    }
    folder = Path(path).parent
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"Some pages of {path!r} lie in {missing[0]!r}{more}, which is not there."
            f" Expected all files of the image in {str(folder)!r}, under their own"
            " names; copy them, too."
        )


def _described(
    path: str, tif: Any, scene: tuple[str, Any, Any, int], said: list[str]
) -> Series:
    name, series, position, number = scene
    key, shape, axes = series.keyframe, series.shape, series.axes
    page_shape = tuple(
        n for n, axis in zip(key.shape, key.axes, strict=True) if axis != "S" or n > 1
    )
    outer = shape[: len(shape) - len(page_shape)]
    if shape[len(outer) :] != page_shape or series.transform is not None:
        raise ValueError(f"its pages of {key.shape} do not make up {shape}")
    numbers = np.arange(int(np.prod(outer))).reshape(outer)
    if position is not None:
        numbers = numbers.take(position[1], axis=position[0])
        axes = axes[: position[0]] + axes[position[0] + 1 :]
    files: list[str] = [path]
    plain, places = _places(series, files, numbers.ravel().tolist())
    if not plain and tif.is_lsm and tif.filehandle.size >= 1 << 32:
        raise ValueError("it is a compressed LSM of more than 4 GiB")
    return Series(
        name=name,
        axes=axes,
        shape=(*numbers.shape, *page_shape),
        dtype=np.dtype(series.dtype),
        big_endian=key.parent.byteorder == ">",
        rgb=key.photometric == RGB,
        siblings=tuple(Path(file).name for file in files[1:]),
        plain=plain,
        page_ndim=len(page_shape),
        pages=_runs(places),
        facts=_facts(tif, series, number, name),
        notes=tuple(f"tifffile says: {text}" for text in said[:MOST_SAID]),
    )


def _places(
    series: Any, files: list[str], numbers: Sequence[int]
) -> tuple[bool, list[tuple[int, int]]]:
    """Whether pages of those numbers are plain, and the file and offset of each.

    Files other than the first are added to those given.
    """
    key = series.keyframe
    if not series.is_multifile and series.dataoffset is not None:
        end = series.dataoffset + key.nbytes * (max(numbers) + 1)
        _check_end(key, end, max(numbers))
        return True, [(0, series.dataoffset + key.nbytes * n) for n in numbers]
    pages = list(series)
    plain = bool(key.is_final)
    by_path = {str(Path(files[0]).resolve()): 0}
    starts: list[tuple[int, int, int]] = []
    for n in numbers:
        page = pages[n] if n < len(pages) else None
        if page is None or not len(page.dataoffsets) or not any(page.dataoffsets):
            raise ValueError(f"it lacks page {n} of {len(numbers)}")
        if page.parent.byteorder != key.parent.byteorder:
            raise ValueError("its files differ in byte order")
        name = str(Path(page.parent.filehandle.path).resolve())
        if name not in by_path:
            by_path[name] = len(files)
            files.append(name)
        plain = plain and page.dataoffsets[-1] - page.dataoffsets[0] == (
            key.dataoffsets[-1] - key.dataoffsets[0]
        )
        last = max(range(len(page.dataoffsets)), key=page.dataoffsets.__getitem__)
        _check_end(page, page.dataoffsets[last] + page.databytecounts[last], n)
        starts.append((by_path[name], page.dataoffsets[0], page.offset))
    if not plain and any(directory <= 0 for _, _, directory in starts):
        raise ValueError("its pages have no directories")
    return plain, [
        (file, data if plain else directory) for file, data, directory in starts
    ]


def _check_end(page: Any, end: int, number: int) -> None:
    size = page.parent.filehandle.size
    if end > size:
        raise ValueError(
            f"page {number} of {page.parent.filename!r} ends at byte {end}, but the"
            f" file has only {size}: it is cut off"
        )


def _runs(places: Sequence[tuple[int, int]]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for file, offset in places:
        if runs and runs[-1][0] == file:
            _, first, step, count = runs[-1]
            step = offset - first if count == 1 else step
            if offset == first + step * count:
                runs[-1] = file, first, step, count + 1
                continue
        runs.append((file, offset, 0, 1))
    return tuple(runs)


def _facts(tif: Any, series: Any, number: int, name: str) -> tiff_metadata.TiffFacts:
    root = tiff_metadata.ome_root(tif.pages.first.description)
    if root is not None:
        return tiff_metadata.ome_facts(root, number, name)
    if tif.is_imagej and tif.imagej_metadata:
        tags = tif.pages.first.tags
        per_unit = [_ratio(tags.valueof(code)) for code in (283, 282)]
        return tiff_metadata.imagej_facts(tif.imagej_metadata, per_unit)
    if tif.is_lsm and tif.lsm_metadata:
        return tiff_metadata.lsm_facts(tif.lsm_metadata)
    if series.kind in ("mmstack", "ndtiff") and tif.micromanager_metadata:
        return tiff_metadata.micromanager_facts(
            tif.micromanager_metadata.get("Summary", {})
        )
    return tiff_metadata.TiffFacts()


def _ratio(value: Any) -> float | None:
    """A resolution, written as a fraction."""
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return float(value[0] / value[1])
    return None
