"""Pixel types and metadata of a CZI are taken where they are clear, or warned of."""

import struct
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.images import czi_segments
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.formats import scenes_of
from harness.czi_files import (
    ALL,
    METADATA_AT,
    noise,
    patch_entries,
    put,
    refusal,
    set_xml,
    with_xml,
    write_tiles,
)

# Pixel types


def test_a_colour_image_is_refused(tmp_path: Path) -> None:
    tiles = [("T0 C0 Z0", noise((6, 7, 3), "uint8"), (0, 0))]
    said = refusal(write_tiles(tmp_path / "a.czi", tiles))
    assert "colour image (Bgr24)" in said
    assert 'set input.channels to ["red", "green", "blue"]' in said


@pytest.mark.parametrize("where", ["T0 C1 Z0", "T0 C0 Z1"])
def test_mixed_pixel_types_are_refused(where: str, tmp_path: Path) -> None:
    """Of a plane of another type pylibCZIrw scales the values down, silently."""
    tiles = [
        ("T0 C0 Z0", noise((6, 7), "uint8"), (0, 0)),
        (where, noise((6, 7), "uint16"), (0, 0)),
    ]
    said = refusal(write_tiles(tmp_path / "a.czi", tiles))
    assert "mixes the pixel types Gray16, Gray8" in said


@pytest.mark.parametrize(
    ("number", "name"), [(10, "Gray64ComplexFloat"), (12, "Gray32"), (77, "type 77")]
)
def test_other_pixel_types_are_refused(number: int, name: str, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 6, 7)))

    def change(data: bytearray, at: int, _: list[int]) -> None:
        struct.pack_into("<i", data, at + 2, number)

    assert name in refusal(patch_entries(path, change))


# Metadata


def test_scale_is_in_micrometer_and_names_are_kept(tmp_path: Path) -> None:
    path = write_czi(
        tmp_path / "a.czi",
        noise((2, 2, 1, 8, 8)),
        names=("DAPI", "Größe 7 µm"),
        scale_um=(0.3, 0.145, 1.45e-3),
        time_step_s=12.25,
    )
    opened = open_czi(str(path))
    assert opened.scale_um == (0.3, 0.145, 0.00145)
    assert opened.time_step_s == 12.25
    assert [c.name for c in opened.channels] == ["DAPI", "Größe 7 µm"]


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    opened = with_xml(tmp_path / "a.czi", "")
    assert opened.scale_um == (None, None, None)
    assert opened.time_step_s is None
    assert [c.name for c in opened.channels] == ["Channel 0", "Channel 1"]
    assert [c.display_range for c in opened.channels] == [None, None]
    colors = [c.color for c in opened.channels]
    assert len(set(colors)) == 2
    assert all(len(color) == 6 and int(color, 16) for color in colors)
    assert opened.warnings == ()


@pytest.mark.parametrize(
    ("text", "micrometer"),
    [
        ("1.45E-07", 0.145),
        (" 3e-7\n", 0.3),
        ("0.000001", 1.0),
        ("0", None),
        ("-1e-7", None),
        ("", None),
        ("none", None),
        ("NaN", None),
        ("inf", None),
        ("1e999", None),
        ("1,45E-07", None),
    ],
)
def test_a_scale_that_is_no_length_is_none(
    text: str, micrometer: float | None, tmp_path: Path
) -> None:
    opened = with_xml(
        tmp_path / "a.czi",
        f"<Scaling><Items><Distance Id='Y'><Value>{text}</Value></Distance>"
        "<Distance Id='X'/></Items></Scaling>",
    )
    assert opened.scale_um == (None, micrometer, None)


@pytest.mark.parametrize(
    ("positions", "seconds"),
    [
        ("<Interval><Increment>33.412</Increment></Interval>", 33.412),
        ("<List><Offsets>0 90.038</Offsets></List>", 90.038),
        ("<List><Offsets>5 7 9.5 11</Offsets></List>", 2.0),
        ("<Interval><Increment>0</Increment></Interval>", None),
        ("<Interval><Increment>x</Increment></Interval>", None),
        ("<List><Offsets>0</Offsets></List>", None),
        ("<List><Offsets></Offsets></List>", None),
        ("<List><Offsets>0 later</Offsets></List>", None),
        ("<List><Offsets>9 0</Offsets></List>", None),
        ("<List/>", None),
    ],
)
def test_the_time_step_is_read_where_it_is_one(
    positions: str, seconds: float | None, tmp_path: Path
) -> None:
    opened = with_xml(
        tmp_path / "a.czi",
        "<Information><Image><Dimensions><T><Positions>"
        f"{positions}</Positions></T></Dimensions></Image></Information>",
    )
    assert opened.time_step_s == seconds


@pytest.mark.parametrize(
    ("inside", "color", "window"),
    [
        ("<Color>#FF123abc</Color>", "123ABC", None),
        ("<Color>#123abc</Color>", "123ABC", None),
        ("<Color>red</Color>", None, None),
        ("<Color></Color>", None, None),
        ("<Low>0.25</Low><High>0.5</High>", None, (16384, 32768)),
        ("<High>1</High>", None, (0, 65535)),
        ("<Low>0</Low><High>1</High>", None, (0, 65535)),
        ("<Low>0.5</Low>", None, None),
        ("<Low>0.5</Low><High>0.5</High>", None, None),
        ("<Low>0.6</Low><High>0.5</High>", None, None),
        ("<Low>0</Low><High>1.5</High>", None, None),
        ("<Low>0</Low><High>-1</High>", None, None),
        ("<Low>a</Low><High>b</High>", None, None),
    ],
)
def test_colours_and_windows_are_read_where_they_are_such(
    inside: str, color: str | None, window: tuple[float, float] | None, tmp_path: Path
) -> None:
    opened = with_xml(
        tmp_path / "a.czi",
        "<DisplaySetting><Channels><Channel Name='shown'>"
        f"{inside}</Channel></Channels></DisplaySetting>",
    )
    first, second = opened.channels
    assert first.name == "shown"
    assert first.display_range == window
    assert first.color == (color or "00FF00")
    assert second.display_range is None


def test_metadata_of_too_many_channels_is_no_problem(tmp_path: Path) -> None:
    channels = "".join(f"<Channel Name='c{i}'/>" for i in range(5))
    opened = with_xml(
        tmp_path / "a.czi",
        f"<Information><Image><Dimensions><Channels>{channels}</Channels></Dimensions>"
        "</Image></Information>",
    )
    assert [c.name for c in opened.channels] == ["c0", "c1"]


@pytest.mark.parametrize(
    ("text", "warned"),
    [("Skew60", True), ("Skew30", True), ("None", False), ("", False)],
)
def test_a_skewed_stack_is_warned_of(text: str, warned: bool, tmp_path: Path) -> None:
    opened = with_xml(tmp_path / "a.czi", f"<ZAxisShear>{text}</ZAxisShear>")
    assert bool(opened.warnings) == warned
    assert all("ZAxisShear" in w and repr(text) in w for w in opened.warnings)


def test_metadata_that_is_no_xml_is_warned_of(tmp_path: Path) -> None:
    """The pixels are all there; only scales and names are lost."""
    image = noise((1, 1, 2, 8, 8))
    path = write_czi(tmp_path / "a.czi", image)
    data = bytearray(path.read_bytes())
    metadata_at = czi_segments.HEADER.unpack_from(data, 32)[8]
    tag = data.index(b"<ImageDocument", metadata_at)
    data[tag + 3 : tag + 4] = b"<"
    path.write_bytes(data)
    opened = open_czi(str(path))
    assert "metadata can't be read" in opened.warnings[0]
    np.testing.assert_array_equal(opened[ALL], image)


def test_a_file_without_metadata_is_read_and_warned_of(tmp_path: Path) -> None:
    """0 stands for none; names and sizes are those of a file that tells nothing."""
    image = noise((1, 2, 2, 8, 8))
    path = write_czi(tmp_path / "a.czi", image, names=("DAPI", "GFP"))
    assert open_czi(str(path)).warnings == ()
    opened = open_czi(str(put(path, METADATA_AT, "<q", 0)))
    np.testing.assert_array_equal(opened[ALL], image)
    assert opened.scale_um == (None, None, None)
    assert opened.time_step_s is None
    assert not {channel.name for channel in opened.channels} & {"DAPI", "GFP"}
    [warning] = opened.warnings
    assert "metadata can't be read" in warning
    assert ".)" not in warning
    assert "pixel sizes, time step and channel names are missing" in warning


# Scenes


def test_scenes_have_the_names_and_wells_that_the_metadata_tell(tmp_path: Path) -> None:
    """As in plates: the array is the well, and the name that of a position in it."""
    scenes = [
        ("0", "P1", "<ArrayName>D6</ArrayName>"),
        ("1", "P2", "<ArrayName>D6</ArrayName>"),
        ("2", "P1", "<ArrayName>AF048</ArrayName>"),
        ("3", "TR1", ""),
        ("4", "TR2", "<ArrayName>Slide 1</ArrayName>"),
        ("x", "?", ""),
    ]
    path = write_tiles(
        tmp_path / "a.czi",
        [(f"S{i} T0 C0 Z0", noise((6, 7)), (0, 9 * i)) for i in range(6)],
    )
    words = "".join(
        f"<Scene Index='{i}' Name='{name}'>{inner}</Scene>" for i, name, inner in scenes
    )
    set_xml(
        path,
        lambda _: (
            "<ImageDocument><Metadata><Information><Image><Dimensions><S><Scenes>"
            f"{words}</Scenes></S></Dimensions></Image></Information></Metadata>"
            "</ImageDocument>"
        ),
    )
    assert [(s.number, s.name, s.well) for s in scenes_of(str(path))] == [
        (0, "P1", ("D", "6")),
        (1, "P2", ("D", "6")),
        (2, "P1", ("AF", "48")),
        (3, "TR1", None),
        (4, "TR2", None),
        (5, "", None),
    ]


def test_a_file_without_scenes_has_one_without_a_name(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 6, 7)))
    assert [(s.number, s.name, s.well) for s in scenes_of(str(path))] == [
        (None, "", None)
    ]


def test_the_metadata_end_where_their_segment_says(tmp_path: Path) -> None:
    """A size beyond it is damage, which costs the metadata and no pixel."""
    path = write_czi(tmp_path / "a.czi", image := noise((1, 1, 1, 8, 8)))
    assert open_czi(str(path)).warnings == ()
    [begin] = struct.unpack_from("<q", path.read_bytes(), METADATA_AT)
    [used] = struct.unpack_from("<q", path.read_bytes(), begin + 24)
    for size in (used - 255, -1, 2**31 - 1):
        opened = open_czi(str(put(path, begin + 32, "<i", size)))
        np.testing.assert_array_equal(opened[ALL], image)
        assert f"they are said to have {size} bytes" in opened.warnings[0]
