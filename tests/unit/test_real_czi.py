"""Real CZI files are read as pylibCZIrw and Zen read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylibCZIrw import czi as pylibczi

from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_directory import read_directory
from denoise_daisy.images.czi_entries import PIXEL_TYPES
from denoise_daisy.images.formats import scenes_of
from harness.czi_files import ALL, CELLS, LATTICE, MOSAIC, refusal
from harness.plain_directory import rows

# Real files


@pytest.mark.parametrize(
    ("name", "scene"),
    [(CELLS, None), (LATTICE, None), (MOSAIC, 0), (MOSAIC, 1), (MOSAIC, 2)],
)
def test_a_real_file_is_read_as_pylibczirw_reads_it(
    name: str, scene: int | None, real_czi: Callable[[str], Path]
) -> None:
    path = str(real_czi(name))
    opened = open_czi(path, scene)
    with pylibczi.open_czi(path) as reader:
        boxes = reader.total_bounding_box
        assert opened.shape[:3] == tuple(boxes[d][1] for d in "TCZ")
        for t, c, z in np.ndindex(opened.shape[:3]):
            plane = {"T": t, "C": c, "Z": z}
            expected = reader.read(plane=plane, scene=scene)[..., 0]
            key = tuple(slice(i, i + 1) for i in (t, c, z))
            found = opened[(*key, slice(None), slice(None))][0, 0, 0]
            np.testing.assert_array_equal(found, expected)
            assert found.any()


@pytest.mark.parametrize("name", [CELLS, LATTICE, MOSAIC])
def test_the_directory_of_a_real_file_is_that_of_pylibczirw(
    name: str, real_czi: Callable[[str], Path]
) -> None:
    path = str(real_czi(name))
    found = sorted(
        (
            tuple(sorted((d, n) for d, n in b.start.items() if d not in "XYM")),
            (b.start["X"], b.start["Y"], b.size["X"], b.size["Y"]),
            PIXEL_TYPES[b.pixel_type],
            b.is_pyramid,
        )
        for b in rows(read_directory(path).sub_blocks)
    )
    expected = []

    def collect(_: int, info: Any) -> bool:
        rect = info.logicalRect
        expected.append(
            (
                tuple(sorted(info.coordinate.to_dict().items())),
                (rect.x, rect.y, rect.w, rect.h),
                str(info.pixelType).rpartition(".")[2],
                info.get_zoom() < 1,
            )
        )
        return True

    with pylibczi.open_czi(path) as reader:
        reader.enumerate_subblocks(collect)
    assert found == sorted(expected)
    assert len(found) > 10


def test_the_metadata_of_real_files_is_what_zen_shows(
    real_czi: Callable[[str], Path],
) -> None:
    lattice = open_czi(str(real_czi(LATTICE)))
    assert lattice.scale_um == (0.144992, 0.144992, 0.144992)
    assert lattice.time_step_s == 90.038
    (warning,) = lattice.warnings
    assert "Deskew, UnsharpMask" in warning
    cells = open_czi(str(real_czi(CELLS)))
    assert [c.name for c in cells.channels] == ["LED555", "LED470"]
    assert [c.color for c in cells.channels] == ["FF7E00", "00FF33"]
    assert cells.scale_um[0] == 0.32
    assert cells.time_step_s == pytest.approx(60.075)
    assert cells.dtype == np.uint16


def test_a_real_mosaic_needs_its_scene_and_tells_of_gaps(
    real_czi: Callable[[str], Path],
) -> None:
    path = real_czi(MOSAIC)
    said = refusal(path)
    for size in ("Y 122 X 295", "Y 64 X 64", "Y 237 X 352"):
        assert size in said
    for scene in range(3):
        opened = open_czi(str(path), scene)
        there = held(path, scene, opened.shape)
        told = any("gaps between tiles" in w for w in opened.warnings)
        assert told == (not there.all()), scene
        found = opened.valid(ALL)
        np.testing.assert_array_equal(there if found is None else found, there)
        assert (found is None) == there.all()


def held(path: Path, scene: int, shape: tuple[int, ...]) -> np.ndarray:
    """What pylibCZIrw does not fill in: it does so with the background's colour."""
    there = np.ones(shape, bool)
    with pylibczi.open_czi(str(path)) as reader:
        for t, c, z in np.ndindex(shape[:3]):
            plane = {"T": t, "C": c, "Z": z}
            white = reader.read(plane=plane, scene=scene, background_pixel=(1, 1, 1))
            same = white == reader.read(plane=plane, scene=scene)
            there[t, c, z] = same[..., 0]
    return there


def test_the_scenes_of_a_real_mosaic_have_their_names(
    real_czi: Callable[[str], Path],
) -> None:
    """None of them lies in a well."""
    found = [(s.number, s.name, s.well) for s in scenes_of(str(real_czi(MOSAIC)))]
    assert found == [(0, "TR1", None), (1, "P1", None), (2, "TR2", None)]
