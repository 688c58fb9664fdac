"""What a CZI lacks, of random tilings, held against painting planes."""

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from denoise_daisy.images import czi_gaps
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_entries import parse
from denoise_daisy.images.czi_gaps import Gaps, find_gaps
from denoise_daisy.images.tilings import Tilings
from harness.czi_files import (
    entry,
    first_sub_block,
    noise,
    tiles_directory,
    with_directory,
)

SIDE = 10
Plane = tuple[int, int, int]
Tile = tuple[Plane, int, int, int, int]
"""Plane (t, c, z), and y, x, height and width."""


def found(tiles: list[Tile], starts: dict[str, int], sizes: dict[str, int]) -> Gaps:
    entries = [
        entry(
            [
                *[(d.encode(), i, 1, 1) for d, i in zip("TCZ", plane, strict=True)],
                (b"Y", y, height, height),
                (b"X", x, width, width),
            ],
            0,
        )
        for plane, y, x, height, width in tiles
    ]
    blocks = parse(iter([b"".join(entries)]), len(entries))
    return find_gaps(blocks, starts, sizes)


def painted(tiles: list[Tile], origin: Plane, shape: Plane) -> np.ndarray:
    """Which voxels (t, c, z, y, x) are in the file."""
    sheets = np.zeros((*shape, SIDE, SIDE), bool)
    for plane, y, x, height, width in tiles:
        at = tuple(np.subtract(plane, origin))
        sheets[at][y : y + height, x : x + width] = True
    return sheets


def in_words(sheets: np.ndarray) -> str:
    """What is missing, in the words of a user."""
    there = sheets.any(axis=(3, 4))
    lines = []
    if missing := np.argwhere(~there).tolist():
        t, c, z = missing[0]
        lines.append(
            f"{len(missing)} of {there.size} planes are missing in the file (the"
            f" first: T {t}, C {c}, Z {z}); they stay 0."
        )
    holes = [1 - sheet.mean() for sheet in sheets[there]]
    if with_holes := sum(hole > 0 for hole in holes):
        lines.append(
            f"{with_holes} of {len(holes)} planes have gaps between tiles (up to"
            f" {max(holes):.1%} of the plane); they stay 0."
        )
    return "\n".join(lines)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[list[Tile], Plane, Plane]:
    """Most planes tiled alike, as in a mosaic, and some in their own way."""
    shape = draw(st.tuples(*[st.integers(1, 3)] * 3))
    origin = draw(st.tuples(*[st.sampled_from([0, -4, 7])] * 3))
    corner = st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1))

    def tiling() -> list[tuple[int, int, int, int]]:
        if draw(st.booleans()):
            return [(0, 0, SIDE, SIDE)]
        return [
            (y, x, draw(st.integers(1, SIDE - y)), draw(st.integers(1, SIDE - x)))
            for y, x in draw(st.lists(corner, min_size=1, max_size=7))
        ]

    alike = tiling()
    tiles: list[Tile] = []
    for index in np.ndindex(shape):
        kind = draw(st.sampled_from(["alike", "alike", "own", "missing"]))
        t, c, z = (int(a + b) for a, b in zip(origin, index, strict=True))
        own = {"alike": alike, "own": tiling(), "missing": []}[kind]
        tiles += [((t, c, z), *tile) for tile in own]
    tiles = tiles or [(origin, *tile) for tile in alike]
    return draw(st.permutations(tiles)), origin, shape


@pytest.mark.parametrize("at_once", [1, 5, 1 << 16])
def test_what_is_missing_is_what_has_no_paint(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tiles are computed together."""
    monkeypatch.setattr(czi_gaps, "_AT_ONCE", at_once)

    @settings(max_examples=60)
    @given(tilings())
    def hold(case: tuple[list[Tile], Plane, Plane]) -> None:
        tiles, origin, shape = case
        starts = dict(zip("TCZ", origin, strict=True)) | {"X": 0, "Y": 0}
        sizes = dict(zip("TCZ", shape, strict=True)) | {"X": SIDE, "Y": SIDE}
        gaps, sheets = found(tiles, starts, sizes), painted(tiles, origin, shape)
        assert "\n".join(gaps.warnings) == in_words(sheets)
        assert (gaps.tilings is None) == bool(sheets.all())
        if gaps.tilings:
            planes = [range(n) for n in shape]
            mask = gaps.tilings.mask(planes, range(SIDE), range(SIDE))
            np.testing.assert_array_equal(mask, sheets)

    hold()


@given(tilings(), st.data())
def test_a_part_of_what_is_there_is_a_part_of_the_paint(
    case: tuple[list[Tile], Plane, Plane], data: st.DataObject
) -> None:
    """Of any box, empty ones too, and of any order of channels."""
    tiles, origin, shape = case
    starts = dict(zip("TCZ", origin, strict=True)) | {"X": 0, "Y": 0}
    sizes = dict(zip("TCZ", shape, strict=True)) | {"X": SIDE, "Y": SIDE}
    whole = found(tiles, starts, sizes).tilings
    if whole is None:
        return
    again = TypeAdapter(Tilings).validate_python(json.loads(json.dumps(asdict(whole))))
    assert again == whole
    t, z, y, x = (
        range(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))))
        for n in (shape[0], shape[2], SIDE, SIDE)
    )
    channels = data.draw(st.permutations(range(shape[1])))
    part = painted(tiles, origin, shape)[t.start : t.stop, channels]
    part = part[:, :, z.start : z.stop, y.start : y.stop, x.start : x.stop]
    mask = again.mask([t, channels, z], y, x)
    if part.all():
        assert mask is None
    else:
        np.testing.assert_array_equal(mask, part)


def test_every_window_of_a_plane_has_its_part_of_the_tiles() -> None:
    tiles = [((0, 0, 0), 1, 2, 3, 4), ((0, 0, 0), 3, 5, 4, 3)]
    starts, sizes = dict.fromkeys("TCZYX", 0), dict.fromkeys("TCZ", 1)
    tilings = found(tiles, starts, sizes | {"Y": SIDE, "X": SIDE}).tilings
    assert tilings
    [[[paint]]] = painted(tiles, (0, 0, 0), (1, 1, 1))
    ranges = [range(a, b) for a in range(SIDE) for b in range(a + 1, SIDE + 1)]
    for y, x in product(ranges, ranges):
        part = paint[y.start : y.stop, x.start : x.stop]
        mask = tilings.mask([[0], [0], [0]], y, x)
        assert part.all() if mask is None else (mask[0, 0, 0] == part).all()


def test_planes_that_are_tiled_alike_take_one_line() -> None:
    """A hundred planes of two tiles and a gap, then ten that are missing, then one."""
    two = [(0, 0, 4, SIDE), (6, 0, 4, SIDE)]
    tiles = [((t, 0, z), *tile) for t in range(10) for z in range(10) for tile in two]
    tiles += [((11, 0, 0), 0, 0, SIDE, SIDE)]
    starts, sizes = dict.fromkeys("TCZYX", 0), {"T": 12, "C": 1, "Z": 10}
    gaps = found(tiles, starts, sizes | {"X": SIDE, "Y": SIDE})
    assert gaps.tilings == Tilings(
        layouts=((), tuple(two), ((0, 0, SIDE, SIDE),)),
        runs=((0, 0, 0, 1), (10, 0, 0, 0), (11, 0, 0, 2), (11, 0, 1, 0)),
    )


def test_the_first_of_very_many_missing_planes_is_found() -> None:
    """Of 2 ** 96, which no integer of a computer counts."""
    far = 2**32 - 1
    ends = (-(2**31),) * 3, (2**31 - 1,) * 3
    starts = dict.fromkeys("TCZ", -(2**31)) | {"X": 0, "Y": 0}
    sizes = dict.fromkeys("TCZ", far + 1) | {"X": 4, "Y": 4}
    gaps = found([(end, 0, 0, 4, 4) for end in ends], starts, sizes)
    said = "\n".join(gaps.warnings)
    assert said.startswith(f"{2**96 - 2} of {2**96} planes are missing")
    assert "(the first: T 0, C 0, Z 1)" in said
    assert gaps.tilings
    assert len(gaps.tilings.runs) == 3
    box = [(0, far - 1, far), (0, far), (0, far)]
    mask = gaps.tilings.mask(box, range(4), range(4))
    assert mask is not None
    assert np.argwhere(mask.any(axis=(3, 4))).tolist() == [[0, 0, 0], [2, 1, 1]]


def test_tiles_of_one_plane_are_counted_once_each(tmp_path: Path) -> None:
    """A mosaic of 50 x 40 overlapping tiles, one of which is away, in each of 3."""
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    tiles = [
        (z, 7 * i, 7 * j, 8, 8)
        for z in range(3)
        for i in range(50)
        for j in range(40)
        if (z, i, j) != (1, 20, 20)
    ]
    with_directory(path, tiles_directory(tiles, first_sub_block(path)))
    [warning] = open_czi(str(path)).warnings
    # What its neighbours leave of it are 6 x 6 pixels of 351 x 281.
    assert "1 of 3 planes have gaps between tiles (up to 0.0%" in warning
