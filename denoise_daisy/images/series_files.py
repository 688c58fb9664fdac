"""Files that make one image together: found by a pattern with placeholders for axes."""

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import file_at

AXES = "tcz"
"""Axes that names can tell, the slowest first."""

PLACEHOLDER = re.compile(r"\{([tcz])\}")

DIGITS = "[0-9]+"
WORD = r"[^\W_]+(?:-[^\W_]+)*"
"""What stands for a channel; it ends at an underscore, a full stop or a space."""

MOST_LISTED = 5
"""Files in a message."""


@dataclass(frozen=True)
class FoundFiles:
    """The files of a series."""

    folder: str
    """What comes before the first placeholder or wildcard."""
    axes: str
    """Those that the names tell, in the order of `AXES`."""
    values: tuple[tuple[str, ...], ...]
    """What stands in the names, sorted, for each of the axes."""
    names: tuple[str, ...]
    """Relative to the folder, one for each position, the last axis the fastest."""


def is_series(path: str) -> bool:
    """Whether a path has placeholders for axes."""
    return PLACEHOLDER.search(path) is not None


def find_files(path: str) -> FoundFiles:
    """The files of a series, one for every combination of what stands in their names.

    Raises
    ------
    InputError
        There are none, some are missing, or several have one position.
    """
    parts = Path(path).parts
    first = next(i for i, part in enumerate(parts) if _is_open(part))
    folder = Path(*parts[:first])
    axes = "".join(axis for axis in AXES if f"{{{axis}}}" in path)
    found: dict[tuple[str | int, ...], tuple[str, Mapping[str, str]]] = {}
    for name, values in _matching(folder, parts[first:], {}):
        position = tuple(_natural(values[axis]) for axis in axes)
        if position in found:
            raise InputError(
                f"Two files stand for one position of {path!r}:"
                f" {found[position][0]!r} and {name!r} in {str(folder)!r}. Expected one"
                " for each; make the pattern narrower, or move one away."
            )
        found[position] = name, values
    if not found:
        raise InputError(
            f"There is no file like {path!r}, where each of {{t}}, {{c}} and {{z}}"
            " stands for a number ({c} also for a word). Expected one for each position"
            " along these axes; check input.path."
        )
    places = [_sorted({place[i] for place in found}) for i in range(len(axes))]
    count = math.prod(map(len, places))
    if count > len(found):
        absent = (p for p in itertools.product(*places) if p not in found)
        first_ones = list(itertools.islice(absent, MOST_LISTED))
        raise _missing(path, axes, first_ones, count - len(found), count)
    texts = [{p[i]: v[a] for p, (_, v) in found.items()} for i, a in enumerate(axes)]
    return FoundFiles(
        folder=str(folder),
        axes=axes,
        values=tuple(
            tuple(text[place] for place in along)
            for text, along in zip(texts, places, strict=True)
        ),
        names=tuple(found[position][0] for position in itertools.product(*places)),
    )


def doubtful_steps(found: FoundFiles) -> Iterator[str]:
    """A warning for each axis whose numbers are not evenly spaced."""
    for axis, values in zip(found.axes, found.values, strict=True):
        if not all(re.fullmatch(DIGITS, value) for value in values):
            continue
        steps = [int(b) - int(a) for a, b in itertools.pairwise(values)]
        wide = [i for i, step in enumerate(steps) if step > min(steps)]
        if wide:
            yield (
                f"The numbers of the files along {axis} jump from {values[wide[0]]} to"
                f" {values[wide[0] + 1]}, others are {min(steps)} apart. They are"
                " taken as neighbours; see that no file is missing."
            )


def place_of(path: Path) -> Path:
    """A name for an image, beside whose files lies what is made of it.

    Of a series without what is special in a pattern; of a part of a file, the file's.
    """
    if not is_series(str(path)):
        return file_at(path) or path
    first = next(i for i, part in enumerate(path.parts) if _is_open(part))
    return Path(*path.parts[:first], re.sub(r"[{}*?]", "", path.name) or "series")


def is_member(path: str, other: str) -> bool:
    """Whether a path would be one of the files of the series `path`."""
    if not is_series(path):
        return False
    ours, theirs = Path(path).parts, Path(other).parts
    before: dict[str, str] = {}
    if len(ours) != len(theirs):
        return False
    for part, name in zip(ours, theirs, strict=True):
        fits = _pattern(part, before).fullmatch(name)
        if fits is None:
            return False
        before |= fits.groupdict()
    return True


def _is_open(part: str) -> bool:
    return is_series(part) or bool(re.search(r"[*?]", part))


def _matching(
    folder: Path, parts: tuple[str, ...], values: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Names in a folder that fit, each with what stands for its axes."""
    count = next((i for i, part in enumerate(parts) if _is_open(part)), len(parts))
    fixed, rest = "/".join(parts[:count]), parts[count:]
    if not rest:
        # Behind a file may come the name of a dataset in it, for its format to find.
        place = folder / fixed
        if not fixed or os.path.isdir(place) or file_at(place):  # noqa: PTH112 - as below
            yield fixed, values
        return
    pattern = _pattern(rest[0], values)
    names: list[str] = []
    with suppress(OSError, ValueError):
        names = sorted(os.listdir(folder / fixed))  # noqa: PTH208 - names alone
    for name in names:
        fits = pattern.fullmatch(name)
        if fits is None or (name[0] == "." != rest[0][0]):
            continue
        known = {**values, **fits.groupdict()}
        for inner, all_values in _matching(folder / fixed / name, rest[1:], known):
            yield "/".join(filter(None, (fixed, name, inner))), all_values


def _pattern(part: str, known: Mapping[str, str]) -> re.Pattern[str]:
    """A part of a path as an expression; an axis stands for the same all along it."""
    text, before = "", set[str]()
    for piece in re.split(r"(\{[tcz]\}|\*|\?)", part):
        axis = piece[1:-1] if PLACEHOLDER.fullmatch(piece) else ""
        if axis in known:
            text += re.escape(known[axis])
        elif axis:
            one = WORD if axis == "c" else DIGITS
            text += f"(?P={axis})" if axis in before else f"(?P<{axis}>{one})"
            before.add(axis)
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(piece, re.escape(piece))
    return re.compile(text)


def _natural(value: str) -> str | int:
    """Numbers are sorted as such; 1 and 01 are one."""
    return int(value) if re.fullmatch(DIGITS, value) else value


def _sorted(values: set[str | int]) -> list[str | int]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _missing(
    path: str, axes: str, first: list[tuple[str | int, ...]], absent: int, count: int
) -> InputError:
    said = [
        " ".join(f"{axis} {value}" for axis, value in zip(axes, position, strict=True))
        for position in first
    ]
    more = ", ..." if absent > len(first) else ""
    return InputError(
        f"{absent} of the {count} files of {path!r} are missing:"
        f" {', '.join(said)}{more}. Expected one for every combination; put them there,"
        " or make the pattern narrower."
    )


def refuse_folder(path: str) -> None:
    """Say how the files of a folder are named as one image.

    Raises
    ------
    InputError
        The path is a folder.
    """
    if os.path.isdir(path):  # noqa: PTH112 - pathlib's raises
        raise InputError(
            f"The input {path!r} is a folder, and no Zarr. Expected a file; for files"
            " that are one image together, a path with placeholders for what counts"
            f" them, such as {str(Path(path) / 'img_{t}_{c}_z{z}.tif')!r}."
        )
