"""Labelling block by block gives the labels of the whole volume, number for number.

The whole is labelled by scipy, and measured by scikit-image.  Both share no code with
the joining of blocks.  A test asserts that objects across many blocks are common.
"""

import io
import itertools
import math
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import regionprops

from denoise_daisy.algorithms import labelling
from denoise_daisy.algorithms.intensities import intensities
from denoise_daisy.algorithms.labelling import (
    Pieces,
    Union,
    Zyx,
    forward_neighbours,
    from_bytes,
    label_block,
    objects,
    pieces_of,
    table_type,
    to_bytes,
    touching,
)
from harness.properties import examples

many = examples(100)
DENSITIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.0, 1.0)
"""Objects percolate at 0.31 for connectivity 1, at 0.10 for 3."""

connectivities = st.integers(1, 3)
TYPES = ("uint8", "uint16", "uint32", "float32")

steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)]


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = [draw(st.integers(1, 12)) for _ in range(3)]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.random(shape) < draw(st.sampled_from(DENSITIES))


@st.composite
def cuts(draw: st.DrawFn) -> tuple[np.ndarray, Zyx, int]:
    """A mask, the shape of its blocks and a connectivity."""
    mask = draw(masks())
    # At most 64 of them, for the time they take.
    block = tuple(
        min(extent, draw(st.integers(math.ceil(extent / 4), 7)))
        for extent in mask.shape
    )
    return mask, block, draw(connectivities)


def label_by_blocks(
    mask: np.ndarray,
    block: Zyx,
    connectivity: int,
    *,
    image: np.ndarray | None = None,
    smallest: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the whole volume and the objects' table, by way of blocks."""
    edges = zip(mask.shape, block, strict=True)
    grid = [range(math.ceil(extent / edge)) for extent, edge in edges]
    labels, pieces, parts, firsts = {}, {}, {}, {}
    size = 0
    for index in itertools.product(*grid):
        begin = tuple(i * edge for i, edge in zip(index, block, strict=True))
        part = tuple(slice(b, b + e) for b, e in zip(begin, block, strict=True))
        labels[index], count = label_block(mask[part], connectivity)
        grey = None if image is None else image[:, *part]
        found = pieces_of(labels[index], count, begin, mask.shape, grey)
        pieces[index] = from_bytes(to_bytes(found))
        parts[index], firsts[index] = part, size
        size += count
    union = Union(size)
    for index, offset in itertools.product(labels, forward_neighbours(connectivity)):
        other = tuple(i + o for i, o in zip(index, offset, strict=True))
        if other in labels:
            pairs = touching(pieces[index], pieces[other], offset, connectivity)
            union.add(pairs - 1 + [firsts[index], firsts[other]])
    table = np.concatenate([p.table for p in pieces.values()])
    ids, merged = objects(table, union.roots(), smallest)
    whole = np.zeros(mask.shape, np.uint32)
    for index, part in parts.items():
        count = len(pieces[index].table)
        of_block = ids[firsts[index] : firsts[index] + count]
        whole[part] = np.concatenate([[0], of_block])[labels[index]]
    return whole, merged


def label_at_once(mask: np.ndarray, connectivity: int) -> np.ndarray:
    return label(mask, generate_binary_structure(3, connectivity))[0]


def snake(shape: Zyx) -> np.ndarray:
    """One path of voxels that meet face to face, to and fro in every second plane."""
    mask = np.zeros(shape, bool)
    mask[::2, ::2] = True
    rows = range(1, shape[1], 2)
    for i, y in enumerate(rows):
        mask[::2, y, 0 if i % 2 else -1] = True
    ends = (-1, 0 if len(rows) % 2 else -1), (0, 0)
    for i, z in enumerate(range(1, shape[0], 2)):
        mask[z, *ends[i % 2]] = True
    return mask


def spiral(size: int) -> np.ndarray:
    """One path of voxels in a plane, from the first voxel inwards, a gap between."""
    mask = np.zeros((1, size, size), bool)
    mask[0, 0, 0] = True
    y, x, dy, dx = 0, 0, 0, 1
    lengths = range(size - 1, 1, -2)
    for length in (size - 1, *(n for n in lengths for _ in range(2))):
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[0, y, x] = True
        dy, dx = dx, -dy
    return mask


@many
@given(cuts())
def test_labels_are_those_of_the_whole_volume(
    cut: tuple[np.ndarray, Zyx, int],
) -> None:
    mask, block, connectivity = cut
    labels, table = label_by_blocks(mask, block, connectivity)
    expected = label_at_once(mask, connectivity)
    assert np.array_equal(labels, expected)
    assert len(table) == expected.max(initial=0)


def test_many_random_cuts_have_several_objects_across_several_blocks() -> None:
    """Else the test before would hold for almost anything."""
    several = 0

    @settings(max_examples=60, database=None, derandomize=True)
    @given(cuts())
    def count(cut: tuple[np.ndarray, Zyx, int]) -> None:
        nonlocal several
        mask, block, connectivity = cut
        _, table = label_by_blocks(mask, block, connectivity)
        blocks = (table["end"] - 1) // block - table["begin"] // block
        several += int(np.count_nonzero(blocks.any(axis=1)) > 1)

    count()
    assert several > 8


@pytest.mark.parametrize("block", [(1, 1, 1), (1, 4, 4), (2, 3, 5), (5, 1, 13)])
@pytest.mark.parametrize("mirror", [1, -1])
def test_a_snake_and_a_spiral_through_many_blocks_are_one_object(
    block: Zyx, mirror: int
) -> None:
    for mask in (spiral(17), spiral(17).transpose(1, 2, 0), snake((5, 7, 13))):
        turned = mask[::mirror, ::mirror, ::mirror]
        assert label_at_once(turned, 1).max() == 1
        assert turned.mean() < 0.7
        labels, table = label_by_blocks(turned, block, 1)
        assert np.array_equal(labels, turned)
        assert table["voxels"].tolist() == [np.count_nonzero(turned)]


@pytest.mark.parametrize("block", [(1, 1, 1), (1, 6, 7), (5, 1, 7), (5, 6, 1)])
@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_empty_full_and_checkered_masks(block: Zyx, connectivity: int) -> None:
    shape = (5, 6, 7)
    checkers = np.indices(shape).sum(axis=0) % 2 == 0
    for mask in (np.zeros(shape, bool), np.ones(shape, bool), checkers):
        labels, _ = label_by_blocks(mask, block, connectivity)
        assert np.array_equal(labels, label_at_once(mask, connectivity))


@many
@given(cuts(), st.integers(0, 2), st.sampled_from(TYPES))
def test_the_table_is_what_regionprops_measures(
    cut: tuple[np.ndarray, Zyx, int], channels: int, dtype: str
) -> None:
    mask, block, connectivity = cut
    random = np.random.default_rng(mask.size)
    image = (random.random((channels, *mask.shape)) * 255).astype(dtype)
    image[:, ::2] *= 1000 if dtype in ("uint32", "float32") else 1
    labels, table = label_by_blocks(mask, block, connectivity, image=image)
    regions = regionprops(labels.astype(int), np.moveaxis(image, 0, -1))
    assert table.dtype == table_type(channels, dtype)
    found = [intensities(table, i, dtype) for i in range(channels)]
    for at, (region, row) in enumerate(zip(regions, table, strict=True)):
        assert row["voxels"] == region.area
        assert (*row["begin"], *row["end"]) == region.bbox
        assert row["sums"] / row["voxels"] == pytest.approx(region.centroid)
        first = np.ravel_multi_index(tuple(region.coords.T), mask.shape).min()
        assert row["first"] == first
        if channels:
            mean, std = ([getattr(c, k)[at] for c in found] for k in ("mean", "std"))
            # It adds up in the image's own type.
            assert mean == pytest.approx(region.intensity_mean, rel=1e-5)
            assert std == pytest.approx(region.intensity_std, rel=1e-3, abs=1e-2)
            assert [c.min[at] for c in found] == region.intensity_min.tolist()
            assert [c.max[at] for c in found] == region.intensity_max.tolist()


@st.composite
def levels(draw: st.DrawFn, shape: Zyx, dtype: str) -> np.ndarray:
    """Grey levels of all sizes, of which sums of floats depend on the order."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype != "float32":
        most = np.iinfo(dtype).max
        return random.integers(most // 2, most, shape, dtype, endpoint=True)
    least = draw(st.integers(-30, 38))
    sizes = np.ldexp(1 + random.random(shape), random.integers(least, 39, shape))
    return (sizes * random.choice([-1, 1], shape)).astype(np.float32)


@many
@given(st.data(), st.sampled_from(TYPES))
def test_intensities_are_exact_and_the_same_in_all_blocks(
    data: st.DataObject, dtype: str
) -> None:
    """Against fractions of the whole; to the bit, though the cuts differ."""
    mask, block, connectivity = data.draw(cuts())
    assume(mask.any())
    image = data.draw(levels(mask.shape, dtype))[np.newaxis]
    labels, table = label_by_blocks(mask, block, connectivity, image=image)
    _, whole = label_by_blocks(mask, mask.shape, connectivity, image=image)
    assert table.tobytes() == whole.tobytes()
    found = intensities(table, 0, dtype)
    for i in range(min(len(table), 5)):
        voxels = image[0][labels == i + 1]
        exact = [Fraction(v) for v in voxels.tolist()]
        mean = sum(exact) / len(exact)
        variance = sum((v - mean) ** 2 for v in exact) / len(exact)
        assert found.mean[i] == float(mean)
        assert found.std[i] == math.sqrt(float(variance))
        assert (found.min[i], found.max[i]) == (voxels.min(), voxels.max())


def test_the_sums_of_a_billion_bright_voxels_are_exact() -> None:
    """Of as many pieces as need be; the mean and deviation are those of two values."""
    image = np.array([65535, 65533], np.uint16).reshape(1, 1, 1, 2)
    _, table = label_by_blocks(np.ones((1, 1, 2)), (1, 1, 2), 1, image=image)
    for column in ("voxels", "levels", "squares"):
        table[column] *= 2**34
    found = intensities(table, 0, "uint16")
    assert (found.mean.item(), found.std.item()) == (65534, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**41])
def test_what_cannot_be_counted_leaves_just_its_object_unmeasured(value: float) -> None:
    mask = np.array([1, 1, 0, 1, 1], bool).reshape(1, 1, 5)
    image = np.array([1, value, 7, 2, 4], np.float32).reshape(1, 1, 1, 5)
    _, table = label_by_blocks(mask, (1, 1, 2), 1, image=image)
    found = intensities(table, 0, "float32")
    np.testing.assert_array_equal(found.mean, [np.nan, 3])
    np.testing.assert_array_equal(found.std, [np.nan, 1])
    np.testing.assert_array_equal(found.max, [np.maximum(1, value), 4])
    np.testing.assert_array_equal(found.min, [np.minimum(1, value), 2])


def test_grey_levels_of_the_background_may_be_no_numbers() -> None:
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 1, 1:3] = True
    image = np.where(mask, 2.5, np.nan)[np.newaxis].astype(np.float32)
    _, table = label_by_blocks(mask, (1, 3, 2), 1, image=image)
    assert intensities(table, 0, "float32").mean.tolist() == [2.5]


def test_positions_in_a_volume_of_ten_to_the_fourteen_voxels() -> None:
    begin, shape = (9_999, 99_998, 99_997), (10_000, 100_000, 100_000)
    labels, count = label_block(np.ones((1, 2, 3)), 1)
    (row,) = pieces_of(labels, count, begin, shape, None).table
    assert row["first"] == np.ravel_multi_index(begin, shape)
    assert row["begin"].tolist() == list(begin)
    assert row["end"].tolist() == list(shape)
    assert row["sums"].tolist() == [6 * 9_999, 6 * 99_998.5, 6 * 99_998]


@many
@given(cuts(), st.integers(0, 20))
def test_small_objects_are_left_out_and_the_others_numbered_densely(
    cut: tuple[np.ndarray, Zyx, int], smallest: int
) -> None:
    mask, block, connectivity = cut
    labels, table = label_by_blocks(mask, block, connectivity, smallest=smallest)
    whole = label_at_once(mask, connectivity)
    is_kept = (np.bincount(whole.ravel()) >= smallest)[whole] & mask
    assert np.array_equal(labels, label_at_once(is_kept, connectivity))
    counts = np.bincount(labels[is_kept], minlength=len(table) + 1)
    assert table["voxels"].tolist() == counts[1:].tolist()
    assert labels.dtype == np.uint32


@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_labels_are_the_same_for_every_type_and_memory_layout(
    connectivity: int,
) -> None:
    mask = np.random.default_rng(1).random((6, 7, 8)) < 0.2
    expected = label_at_once(mask, connectivity)
    turned = mask.transpose(2, 0, 1).copy().transpose(1, 2, 0)
    kinds = (np.asfortranarray(mask), turned, mask * np.uint8(255), mask * -0.5)
    for kind in (mask, *kinds):
        labels, count = label_block(kind, connectivity)
        assert labels.dtype == np.int32
        assert labels.flags.c_contiguous
        assert np.array_equal(labels, expected)
        assert count == expected.max()


@many
@given(st.data(), st.sampled_from(steps), connectivities)
def test_blocks_touch_where_two_of_their_voxels_do(
    data: st.DataObject, offset: Zyx, connectivity: int
) -> None:
    """Against all pairs of voxels, for all 26 neighbours and blocks of any shape."""
    shape_a = [data.draw(st.integers(1, 4)) for _ in range(3)]
    shape_b = [
        data.draw(st.integers(1, 4)) if o else extent
        for o, extent in zip(offset, shape_a, strict=True)
    ]
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    density = data.draw(st.floats(0.1, 1))
    pieces, voxels = [], []
    origin = [
        (-b, 0, a)[o + 1] for a, b, o in zip(shape_a, shape_b, offset, strict=True)
    ]
    for shape, begin in ((shape_a, [0, 0, 0]), (shape_b, origin)):
        labels, count = label_block(random.random(shape) < density, 1)
        pieces.append(pieces_of(labels, count, (0, 0, 0), tuple(shape), None))
        places = zip(*np.nonzero(labels), strict=True)
        voxels.append([(np.add(p, begin), labels[p]) for p in places])
    expected = {
        (int(label_a), int(label_b))
        for (a, label_a), (b, label_b) in itertools.product(*voxels)
        if abs(a - b).max() == 1 and abs(a - b).sum() <= connectivity
    }
    pairs = touching(pieces[0], pieces[1], offset, connectivity)
    assert pairs.dtype == np.int64
    assert pairs.shape == (len(expected), 2)
    assert set(map(tuple, pairs.tolist())) == expected


def test_labels_beyond_two_to_the_sixteen_touch() -> None:
    most = np.iinfo(np.int32).max
    faces = tuple(np.array([[most - 1, most]], np.int32) for _ in range(6))
    pieces = Pieces(faces, np.empty(0, table_type(0, "uint8")))
    pairs = touching(pieces, pieces, (1, 0, 0), 1)
    assert pairs.tolist() == [[most - 1, most - 1], [most, most]]


@pytest.mark.parametrize(("connectivity", "number"), [(1, 3), (2, 9), (3, 13)])
def test_forward_neighbours_are_half_of_all(connectivity: int, number: int) -> None:
    offsets = forward_neighbours(connectivity)
    backward = [tuple(-o for o in offset) for offset in offsets]
    near = {s for s in steps if sum(map(abs, s)) <= connectivity}
    assert len(offsets) == number
    assert all(offset > (0, 0, 0) for offset in offsets)
    assert {*offsets, *backward} == near


@pytest.mark.parametrize("buffered", [1, 7, 64, 10_000])
@pytest.mark.parametrize("at_once", [1, 10, 1000])
def test_a_union_of_many_more_pairs_than_it_keeps(
    monkeypatch: pytest.MonkeyPatch, buffered: int, at_once: int
) -> None:
    monkeypatch.setattr(labelling, "MOST_PAIRS", buffered)
    size = 1000
    pairs = np.random.default_rng(buffered).integers(0, size, (1000, 2)) // 2 * 2
    union = Union(size)
    for i in range(0, len(pairs), at_once):
        union.add(pairs[i : i + at_once])
        assert union._kept < buffered
    assert union._pairs.shape == (buffered, 2)
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(size, size))
    count, expected = connected_components(graph, directed=False)
    roots = union.roots()
    assert sorted(set(roots.tolist())) == list(range(count))
    assert len(set(zip(roots.tolist(), expected.tolist(), strict=True))) == count
    assert count > size / 2


def test_a_union_can_be_asked_before_between_and_without_pairs() -> None:
    assert Union(0).roots().tolist() == []
    union = Union(4)
    assert union.roots().tolist() == [0, 1, 2, 3]
    union.add(np.array([[3, 1]]))
    union.add(np.empty((0, 2), np.int64))
    joined = union.roots()
    assert joined[1] == joined[3]
    assert len(set(joined.tolist())) == 3
    union.add(np.array([[0, 3]] * 300))
    assert len(set(union.roots()[[0, 1, 3]].tolist())) == 1
    assert len(set(union.roots().tolist())) == 2


def test_there_may_be_no_pieces_at_all() -> None:
    ids, table = objects(np.empty(0, table_type(2, "uint8")), Union(0).roots(), 1)
    assert len(ids) == len(table) == 0
    assert ids.dtype == np.uint32
    assert table.dtype == table_type(2, "uint8")


@pytest.mark.parametrize("channels", [None, 0, 2])
def test_bytes_are_the_same_for_the_same_pieces_and_carry_no_time(
    channels: int | None,
) -> None:
    mask = np.random.default_rng(2).random((4, 5, 6)) < 0.3
    image = None if channels is None else np.ones((channels, *mask.shape))
    labels, count = label_block(mask, 2)
    pieces = pieces_of(labels, count, (1, 2, 3), (9, 9, 9), image)
    again = pieces_of(labels.copy("F"), count, (1, 2, 3), (9, 9, 9), image)
    data = to_bytes(pieces)
    assert data == to_bytes(again)
    assert data == to_bytes(from_bytes(data))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        times = {member.date_time for member in archive.infolist()}
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_faces_are_the_six_outermost_planes_and_keep_no_block_alive() -> None:
    labels, count = label_block(np.random.default_rng(3).random((3, 4, 5)) < 0.5, 1)
    pieces = pieces_of(labels, count, (0, 0, 0), labels.shape, None)
    expected = [
        *(labels[0], labels[-1]),
        *(labels[:, 0], labels[:, -1]),
        *(labels[:, :, 0], labels[:, :, -1]),
    ]
    for faces in (pieces.faces, from_bytes(to_bytes(pieces)).faces):
        for face, plane in zip(faces, expected, strict=True):
            assert face.dtype == np.int32
            assert np.array_equal(face, plane)
            assert not np.shares_memory(face, labels)
