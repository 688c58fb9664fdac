"""One position along the dimensions beyond T, C, Z, Y and X, as `input.select` says."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_format, formats
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.formats import describe, described_image, open_image
from denoise_daisy.images.input import Input
from harness.czi_files import ALL, noise, refusal, write_tiles

OTHERS = "RIHVB"


def ring(path: Path, first: int = 0, compression: str | None = None) -> np.ndarray:
    """Of four detectors along H, as an Airyscan's: (h, t, c, z, y, x).

    The second channel has the first detector only.
    """
    voxels = noise((4, 2, 2, 2, 8, 9))
    voxels[1:, :, 1] = 0
    with pylibczi.create_czi(str(path), compression_options=compression) as writer:
        for h, t, c, z in np.ndindex(4, 2, 2, 2):
            if c == 0 or h == 0:
                data = writer._format_data(voxels[h, t, c, z, ..., np.newaxis])
                where = f"T{t} C{c} Z{z} H{first + h}"
                writer._czi_writer.AddTile(where, data, 3, 4, 0, "")
        writer.write_metadata("ring")
    return voxels


@pytest.mark.parametrize("compression", [None, "zstd0:ExplicitLevel=1"])
@pytest.mark.parametrize("first", [0, 2])
def test_a_position_is_read_as_pylibczirw_reads_it(
    first: int, compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.czi"
    voxels = ring(path, first, compression)
    for h in range(4):
        opened = open_image(Input(path=str(path), select={"h": first + h}))
        assert opened.shape == (2, 2, 2, 8, 9)
        np.testing.assert_array_equal(opened[ALL], voxels[h])
        assert described_image(describe(opened)) == opened


def test_planes_that_only_one_position_has_are_missing_in_the_others(
    tmp_path: Path,
) -> None:
    ring(tmp_path / "a.czi")
    assert open_czi(str(tmp_path / "a.czi"), select={"h": 0}).warnings == ()
    opened = open_czi(str(tmp_path / "a.czi"), select={"h": 3})
    [warning] = opened.warnings
    assert "4 of 8 planes are missing in the file (the first: T 0, C 1, Z 0)" in warning
    there = np.zeros(opened.shape, bool)
    there[:, 0] = True
    np.testing.assert_array_equal(opened.valid(ALL), there)


@pytest.mark.parametrize("dimension", OTHERS)
def test_every_dimension_has_its_letter(dimension: str, tmp_path: Path) -> None:
    planes = [noise((8, 9), seed=i) for i in range(3)]
    tiles = [(f"T0 C0 Z0 {dimension}{i}", p, (0, 0)) for i, p in enumerate(planes)]
    path = write_tiles(tmp_path / "a.czi", tiles)
    select: dict[Any, int] = {dimension.lower(): 2}
    opened = open_image(Input(path=str(path), select=select))
    np.testing.assert_array_equal(opened[ALL][0, 0, 0], planes[2])


def test_several_dimensions_are_selected_together(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    places = [
        (h, v) for h, v in itertools.product(range(2), range(2)) if (h, v) != (1, 0)
    ]
    tiles = [
        (f"T0 C0 Z0 H{h} V{v}", noise((8, 9), seed=i), (0, 0))
        for i, (h, v) in enumerate(places)
    ]
    write_tiles(path, tiles)
    opened = open_czi(str(path), select={"h": 1, "v": 1})
    np.testing.assert_array_equal(opened[ALL][0, 0, 0], noise((8, 9), seed=2))
    assert "2 positions along dimension V" in refusal(path, select={"h": 0})
    said = refusal(path, select={"h": 1, "v": 0})
    assert "has no plane there; along V it has the positions 1. Expected" in said


def test_positions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    ring(path, first=2)
    assert "along H it has the positions 2, 3, 4, 5" in refusal(path, select={"h": 1})
    said = refusal(path, select={"v": 0})
    assert 'input.select is {"v": 0}' in said
    assert "has no dimension V" in said
    said = refusal(path)
    assert "4 positions along dimension H, 2 to 5" in said
    assert 'input.select, such as {"h": 2}' in said
    assert "in a run of its own" in said


def test_a_format_that_has_no_positions_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring(tmp_path / "a.czi")
    plain = replace(czi_format.FORMAT, name="Plain", takes=frozenset())
    monkeypatch.setattr(formats, "formats", lambda: (plain,))
    with pytest.raises(InputError, match=r"input\.select is \{'h': 0\}, but .* Plain"):
        open_image(Input(path=str(tmp_path / "a.czi"), select={"h": 0}))
    # Nothing is asked for: that is refused by who opens it.
    with pytest.raises(InputError, match="4 positions along dimension H"):
        open_image(Input(path=str(tmp_path / "a.czi")))
