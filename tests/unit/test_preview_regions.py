"""Regions of a preview lie where they should, and little is read to find them."""

from collections.abc import Sequence

import numpy as np
import pytest
from funlib.geometry import Roi

from denoise_daisy.errors import InputError
from denoise_daisy.images.image import Image, roi_of
from denoise_daisy.runs.preview_regions import (
    FIELD_EDGE,
    PLANES,
    asked_region,
    choose_regions,
)
from harness.images import MemoryImage

VOLUME = Roi((1, 2, 10, 20), (3, 8, 200, 100))
SHAPE = (1, 4, 96, 96)


def box(roi: Roi) -> list[tuple[int, int]]:
    return list(zip(roi.begin, roi.end, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z=3:5,y=40:60,x=30:31", [(2, 3), (3, 5), (40, 60), (30, 31)]),
        ("t=1, x=119 , y=10:210", [(1, 2), (4, 8), (10, 210), (119, 120)]),
        ("x=20:120", [(2, 3), (4, 8), (62, 158), (20, 120)]),
    ],
)
def test_a_region_is_where_it_was_asked_for_else_in_the_middle(
    text: str, expected: list[tuple[int, int]]
) -> None:
    assert box(asked_region(text, VOLUME, SHAPE).roi) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("z=1:5", "asks for z 1:5, but the run writes z 2:10"),
        ("x=100:121", "but the run writes x 20:120"),
        ("y=50:50", "asks for y 50:50"),
        ("q=1:2", "'q=1:2' is no range"),
        ("z", "'z' is no range"),
        ("z=1:", "'z=1:' is no range"),
        ("z=-1:3", "'z=-1:3' is no range"),
        ("z=2:4,,", "'' is no range"),
    ],
)
def test_what_is_no_region_of_the_run_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        asked_region(text, VOLUME, SHAPE)
    assert said in str(caught.value)
    assert "Expected" in str(caught.value)


def scene() -> MemoryImage:
    """Grey everywhere, with one bright, one dim and one structured window."""
    rng = np.random.default_rng(0)
    voxels = rng.normal(500, 5, (1, 1, 3, 64, 64))
    voxels[0, 0, 0, 16:32, 32:48] += 300
    voxels[0, 0, 1, 32:48, 0:16] -= 300
    checks = np.kron(np.indices((2, 2)).sum(0) % 2, np.ones((8, 8)))
    voxels[0, 0, 2, 48:64, 48:64] += 100 * (checks - 0.5)
    return MemoryImage(voxels.astype(np.float32))


def test_structure_light_and_dark_are_found_in_planes_of_their_own() -> None:
    image = scene()
    found = choose_regions(image, roi_of(image), (1, 1, 16, 16), 3)
    assert {r.why: tuple(r.roi.begin) for r in found} == {
        "most structure": (0, 2, 48, 48),
        "brightest": (0, 0, 16, 32),
        "dimmest": (0, 1, 32, 0),
    }


def test_the_fourth_is_of_middle_brightness_and_more_have_structure() -> None:
    image = scene()
    found = choose_regions(image, roi_of(image), (1, 1, 16, 16), 6)
    assert [r.why for r in found[3:]] == ["middle brightness", *["more structure"] * 2]
    for a in found:
        assert sum(a.roi.intersects(b.roi) for b in found) == 1
    t, z, y, x = found[3].roi.to_slices()
    assert image.voxels[t, :, z, y, x].mean() == pytest.approx(500, abs=1)


def test_a_second_channel_has_its_say() -> None:
    image = scene()
    voxels = np.concatenate([np.full_like(image.voxels, 7), image.voxels / 100], 1)
    both = MemoryImage(voxels)
    found = choose_regions(both, roi_of(both), (1, 1, 16, 16), 1)
    assert tuple(found[0].roi.begin) == (0, 2, 48, 48)


def test_gaps_constant_windows_and_what_is_no_number_are_passed_over() -> None:
    image = scene()
    image.there = np.ones(image.shape, bool)
    image.there[0, 0, 2, 50, 50] = False
    image.voxels[0, 0, 0, 20, 40] = np.nan
    image.voxels[0, 0, 1, 32:48, 0:16] = 0
    found = choose_regions(image, roi_of(image), (1, 1, 16, 16), 12)
    places = {tuple(r.roi.begin) for r in found}
    assert len(places) == 12
    assert not places & {(0, 2, 48, 48), (0, 0, 16, 32), (0, 1, 32, 0)}


def test_an_image_of_one_value_has_nothing_to_show() -> None:
    image = MemoryImage(np.full((1, 1, 2, 32, 32), 3, np.uint8))
    with pytest.raises(InputError, match=r"nothing to preview.*--roi"):
        choose_regions(image, roi_of(image), (1, 1, 16, 16), 2)


def test_regions_keep_within_what_the_run_writes() -> None:
    image = scene()
    volume = Roi((0, 1, 5, 7), (1, 2, 40, 33))
    found = choose_regions(image, volume, (1, 2, 16, 16), 4)
    assert len(found) == 4
    assert all(volume.contains(r.roi) and r.roi.shape == (1, 2, 16, 16) for r in found)


class Counted(MemoryImage):
    """A large image that is noise wherever it is looked at, and counts that."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(np.zeros((1, 1, 1, 1, 1), np.uint16))
        self.shape = tuple(shape)
        self.read: list[tuple[int, ...]] = []
        self.planes: set[tuple[int, int]] = set()

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        ranges = [range(*k.indices(n)) for k, n in zip(key, self.shape, strict=True)]
        self.read.append(tuple(map(len, ranges)))
        self.planes.add((ranges[0].start, ranges[2].start))
        rng = np.random.default_rng(len(self.read))
        return rng.integers(0, 99, tuple(map(len, ranges)), np.uint16)


def test_of_a_large_image_a_few_planes_are_read_spread_over_time_and_depth() -> None:
    image = Counted((17, 1, 1501, 2048, 1936))
    as_image: Image = image
    found = choose_regions(as_image, roi_of(as_image), SHAPE, 4)
    assert len(found) == 4
    assert image.read == [(1, 1, 1, 2048, 1936)] * PLANES
    times, depths = (sorted(n) for n in zip(*image.planes, strict=True))
    assert (times[0], times[-1]) == (0, 16)
    assert (depths[0], depths[-1]) == (2, 1499)
    assert len(set(times)) == len(set(depths)) == PLANES
    assert len({(r.roi.begin[0], r.roi.begin[1]) for r in found}) == 4


def test_of_a_large_plane_only_fields_are_read() -> None:
    image = Counted((1, 2, 1, 30000, 500))
    choose_regions(image, roi_of(image), (1, 1, 96, 96), 4)
    assert image.read == [(1, 2, 1, FIELD_EDGE, 500)] * 3
