"""Colours of a CZI as channels, and channels of one type among those of others."""

import struct
from pathlib import Path

import numpy as np
import pytest
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.formats import (
    describe,
    described_image,
    inspect_image,
    open_image,
)
from denoise_daisy.images.input import Input
from harness.czi_files import (
    ALL,
    noise,
    patch_entries,
    refusal,
    set_xml,
    write_tiles,
)
from harness.reader_contract import some_keys

RGB = ("red", "green", "blue")


def coloured(path: Path, dtype: str, compression: str | None = None) -> np.ndarray:
    """Planes of (t, z) with samples in the order in which they are stored: B, G, R."""
    voxels = noise((2, 2, 11, 13, 3), dtype)
    with pylibczi.create_czi(str(path), compression_options=compression) as writer:
        for t, z in np.ndindex(2, 2):
            writer.write(voxels[t, z], plane={"T": t, "C": 0, "Z": z})
        writer.write_metadata("a")
    return voxels


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("compression", [None, "zstd0:ExplicitLevel=1"])
def test_colours_are_channels_where_they_are_asked_for(
    dtype: str, compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.czi"
    voxels = coloured(path, dtype, compression)
    if compression is None:
        # What lies in the file, first to last, is what is called blue, green and red.
        assert voxels[0, 0].tobytes() in path.read_bytes()
    expected = np.stack([voxels[..., i] for i in (2, 1, 0)], axis=1)
    opened = open_image(Input(path=str(path), channels=RGB))
    assert opened.shape == (2, 3, 2, 11, 13)
    assert opened.dtype == np.dtype(dtype)
    assert [channel.name for channel in opened.channels] == list(RGB)
    assert [c.color for c in opened.channels] == ["FF0000", "00FF00", "0000FF"]
    for key in [ALL, *some_keys(opened.shape, 20, seed=3)]:
        np.testing.assert_array_equal(opened[key], expected[key])
    assert opened.valid(ALL) is None
    assert described_image(describe(opened)) == opened
    assert sum("colour image" in warning for warning in opened.warnings) == 1
    some = open_image(Input(path=str(path), channels=("blue", 0)))
    np.testing.assert_array_equal(some[ALL], expected[:, [2, 0]])


def test_a_colour_image_that_is_not_asked_so_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    coloured(path, "uint8")
    with pytest.raises(InputError, match=r"colour image \(Bgr24\).*input\.channels to"):
        open_image(Input(path=str(path)))
    [scene] = inspect_image(str(path)).scenes
    assert scene.problem
    assert '["red", "green", "blue"]' in scene.problem
    with pytest.raises(InputError, match="0 'red', 1 'green', 2 'blue'"):
        open_image(Input(path=str(path), channels=("alpha",)))


def test_gaps_of_a_colour_image_are_those_of_all_its_colours(tmp_path: Path) -> None:
    tiles = [
        ("T0 C0 Z0", noise((5, 6, 3), "uint8"), (0, 0)),
        ("T0 C1 Z0", noise((5, 6, 3), "uint8", seed=1), (0, 0)),
        ("T0 C1 Z1", noise((5, 6, 3), "uint8", seed=2), (0, 0)),
    ]
    path = write_tiles(tmp_path / "a.czi", tiles)
    image = open_czi(str(path), channels=[*range(6)])
    names = [channel.name for channel in image.channels]
    assert [name.split()[-1] for name in names] == [*RGB, *RGB]
    there = np.ones(image.shape, bool)
    there[0, :3, 1] = False
    np.testing.assert_array_equal(image.valid(ALL), there)
    np.testing.assert_array_equal(image[ALL][0, 3, 1], tiles[2][1][..., 2])
    assert not image[ALL][0, :3, 1].any()


def test_what_is_no_colour_is_left_out(tmp_path: Path) -> None:
    """Of Bgra32, which no writer writes: made of a grey plane, four times as wide."""
    pixels = noise((7, 9, 4), "uint8")
    path = write_tiles(
        tmp_path / "a.czi", [("T0 C0 Z0", pixels.reshape(7, 36), (0, 0))]
    )

    def to_bgra(data: bytearray, entry: int, dimensions: list[int]) -> None:
        struct.pack_into("<i", data, entry + 2, 9)
        [at] = [at for at in dimensions if data[at : at + 4] == b"X\0\0\0"]
        struct.pack_into("<ii4xi", data, at + 4, 0, 9, 9)

    image = open_czi(str(patch_entries(path, to_bgra)), channels=RGB)
    found = image[ALL]
    for channel, sample in enumerate((2, 1, 0)):
        np.testing.assert_array_equal(found[0, channel, 0], pixels[..., sample])


def test_what_pylibczirw_has_no_word_for_is_refused_where_it_would_need_one(
    tmp_path: Path,
) -> None:
    path = write_tiles(
        tmp_path / "a.czi",
        [("T0 C0 Z0", noise((7, 8), "uint8"), (x, 0)) for x in (0, 8)],
    )

    def to_bgra(data: bytearray, entry: int, dimensions: list[int]) -> None:
        struct.pack_into("<i", data, entry + 2, 9)

    said = refusal(patch_entries(path, to_bgra), channels=RGB)
    assert "Bgra32 that are compressed or lie in tiles" in said


# Channels of several types


def mixed(path: Path) -> dict[str, np.ndarray]:
    types = {"a": "uint16", "b": "uint8", "c": "uint16", "d": "float32"}
    planes = {name: noise((8, 9), dtype) for name, dtype in types.items()}
    tiles = [(f"T0 C{i} Z0", p, (0, 0)) for i, p in enumerate(planes.values())]
    write_tiles(path, tiles)
    channels = "".join(f"<Channel Name='{name}'/>" for name in planes)
    set_xml(
        path,
        lambda _: (
            "<ImageDocument><Metadata><Information><Image><Dimensions><Channels>"
            f"{channels}</Channels></Dimensions></Image></Information></Metadata>"
            "</ImageDocument>"
        ),
    )
    return planes


@pytest.mark.parametrize(
    ("channels", "names"),
    [(("a", "c"), "ac"), ((2,), "c"), (("b",), "b"), ((3,), "d"), (("c", 0), "ca")],
)
def test_channels_of_one_type_are_denoised_where_others_have_another(
    channels: tuple[int | str, ...], names: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.czi"
    planes = mixed(path)
    opened = open_image(Input(path=str(path), channels=channels))
    assert [channel.name for channel in opened.channels] == list(names)
    assert opened.dtype == planes[names[0]].dtype
    found = opened[ALL]
    for i, name in enumerate(names):
        np.testing.assert_array_equal(found[0, i, 0], planes[name])


def test_channels_of_several_types_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    mixed(path)
    for kwargs in ({}, {"channels": ("a", "b")}):
        said = refusal(path, **kwargs)
        assert "0 'a' Gray16, 1 'b' Gray8, 2 'c' Gray16, 3 'd' Gray32Float" in said
        assert "input.channels" in said
    renamed = Input(
        path=str(path), channels=("y", "w"), channel_names=("w", "x", "y", "z")
    )
    assert [c.name for c in open_image(renamed).channels] == ["y", "w"]


def test_a_grey_channel_beside_a_coloured_one_is_denoised_and_the_other_not(
    tmp_path: Path,
) -> None:
    grey, colours = noise((8, 9), "uint8"), noise((8, 9, 3), "uint8")
    path = write_tiles(
        tmp_path / "a.czi",
        [("T0 C0 Z0", grey, (0, 0)), ("T0 C1 Z0", colours, (0, 0))],
    )
    opened = open_image(Input(path=str(path), channels=(0,)))
    np.testing.assert_array_equal(opened[ALL][0, 0, 0], grey)
    assert "has pixels of Bgr24" in refusal(path, channels=(1,))
