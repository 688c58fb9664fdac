"""TIFFs as others write them: what their metadata say, and what is refused."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import describe, scenes_of
from harness.czi_files import ALL, noise
from harness.opened import opened, refused

ONE_OF_TWO = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"
 SizeX="24" SizeY="16" SizeZ="3" SizeC="1" SizeT="2">
<Channel ID="Channel:0:0" SamplesPerPixel="1"/>
<TiffData IFD="0" FirstT="0" PlaneCount="3"><UUID FileName="first.ome.tif">urn:uuid:\
aaaaaaaa-0000-0000-0000-000000000000</UUID></TiffData>
<TiffData IFD="0" FirstT="1" PlaneCount="3"><UUID FileName="second.ome.tif">urn:uuid:\
bbbbbbbb-0000-0000-0000-000000000000</UUID></TiffData>
</Pixels></Image></OME>"""


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def of_two_files(folder: Path, **how: Any) -> np.ndarray:
    voxels = noise((2, 1, 3, 16, 24))
    for name, mark, planes in zip(("first", "second"), "ab", voxels[:, 0], strict=True):
        own = f"{mark * 8}-0000-0000-0000-000000000000"
        path = folder / f"{name}.ome.tif"
        with tifffile.TiffWriter(path) as writer:
            for i, plane in enumerate(planes):
                text = ONE_OF_TWO.format(own=own) if i == 0 else None
                writer.write(
                    plane,
                    description=text and text.encode(),
                    metadata=None,
                    contiguous=False,
                    **how,
                )
    return voxels


def test_ome_xml_tells_sizes_times_and_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        noise((2, 2, 3, 16, 24)),
        metadata={
            "axes": "TCZYX",
            "PhysicalSizeX": 65.5,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.0655,
            "PhysicalSizeZ": 0.0003,
            "PhysicalSizeZUnit": "mm",
            "TimeIncrement": 250.0,
            "TimeIncrementUnit": "ms",
            "Channel": {"Name": ["DAPI", "GFP"], "Color": [0x0000FFFF, -16711681]},
        },
    )
    image = opened(path)
    assert image.scale_um == (0.3, 0.0655, 0.0655)
    assert image.time_step_s == 0.25
    assert [channel.name for channel in image.channels] == ["DAPI", "GFP"]
    # -16711681 is FF00FFFF.
    assert [channel.color for channel in image.channels] == ["0000FF", "FF00FF"]
    assert image.warnings == ()


def test_imagej_tells_sizes_times_and_display(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    red = np.zeros((3, 256), np.uint8)
    red[0] = np.arange(256)
    grey = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    tifffile.imwrite(
        path,
        noise((2, 3, 2, 16, 24)),
        imagej=True,
        resolution=(4.0, 5.0),
        metadata={
            "axes": "TZCYX",
            "unit": "\\u00B5m",
            "spacing": 1.5,
            "finterval": 0.2,
            "Ranges": (10.0, 200.0, 20.0, 300.0),
            "LUTs": [red, grey],
        },
    )
    image = opened(path)
    assert image.scale_um == (1.5, 0.2, 0.25)
    assert image.time_step_s == 0.2
    assert [channel.color for channel in image.channels] == ["FF0000", "FFFFFF"]
    assert image.channels[1].display_range == (20.0, 300.0)


def test_resolutions_of_pixels_without_a_length_are_no_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((16, 24)), imagej=True, resolution=(4.0, 5.0))
    assert opened(path).scale_um == (None, None, None)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}], ids=["plain", "zlib"])
def test_files_that_belong_together_are_one_image(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    voxels = of_two_files(tmp_path, **how)
    for name in ("second.ome.tif", "first.ome.tif"):
        image = opened(tmp_path / name)
        np.testing.assert_array_equal(image[ALL], voxels)
    before = image.current_identity()
    os.utime(tmp_path / "second.ome.tif", (1, 2))
    assert image.current_identity() != before

    (tmp_path / "second.ome.tif").unlink()
    assert "'second.ome.tif'" in refused(tmp_path / "first.ome.tif")
    (tmp_path / "first.ome.tif").unlink()
    with pytest.raises(InputError, match=r"first\.ome\.tif"):
        image.current_identity()


@pytest.mark.parametrize(
    "how",
    [
        {"byteorder": ">"},
        {"byteorder": ">", "rowsperstrip": 5, "compression": "zlib"},
        {"byteorder": ">", "tile": (16, 16)},
        {"bigtiff": True, "rowsperstrip": 7, "compression": "lzw"},
        {"tile": (16, 32), "compression": "zstd", "predictor": True},
        {"tile": (2, 16, 16), "compression": "zlib"},
    ],
)
def test_pages_of_all_kinds_have_their_voxels(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    path = tmp_path / "a.tif"
    voxels = noise((5, 50, 70))
    if len(how.get("tile", ())) == 3:
        how = how | {"volumetric": True}
    tifffile.imwrite(path, voxels, metadata={"axes": "ZYX"}, **how)
    image = opened(path, axes="zyx")
    np.testing.assert_array_equal(image[ALL][0, 0], voxels)
    for begin in range(0, 45, 9):
        z, y, x = slice(1, 4), slice(begin, begin + 3), slice(begin + 11, begin + 14)
        part = image[slice(0, 1), slice(0, 1), z, y, x]
        np.testing.assert_array_equal(part[0, 0], voxels[z, y, x])


@pytest.mark.parametrize(
    ("how", "most"),
    [
        ({"tile": (128, 128), "metadata": {"axes": "ZYX"}}, 3 * 128 * 128 * 2),
        ({"rowsperstrip": 16, "metadata": {"axes": "ZYX"}}, 3 * 16 * 1024 * 2),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, 3 * 16 * 1024 * 2),
    ],
    ids=["tiles", "strips", "imagej"],
)
def test_only_what_is_needed_is_read(
    tmp_path: Path, how: dict[str, Any], most: int
) -> None:
    path = tmp_path / "a.tif"
    voxels = noise((20, 1024, 1024))
    compressed = {} if "imagej" in how else {"compression": "zlib"}
    tifffile.imwrite(path, voxels, **how, **compressed)
    image = opened(path)
    key = (slice(0, 1), slice(0, 1), slice(5, 8), slice(32, 48), slice(130, 146))
    image[(*key[:2], slice(0, 1), slice(0, 1), slice(0, 1))]
    before = bytes_read()
    part = image[key]
    # The directory of a page is read, too, with the places of all its segments.
    assert bytes_read() - before < most * 1.1 + 3 * 2000
    np.testing.assert_array_equal(part[0, 0], voxels[key[2:]])


def test_of_wide_rows_only_a_part_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    voxels = noise((4, 8, 50_000))
    grey = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(path, voxels, **grey)
    image = opened(path)
    key = (slice(0, 1), slice(0, 1), slice(1, 4), slice(2, 5), slice(40_000, 40_100))
    before = bytes_read()
    part = image[key]
    assert bytes_read() - before < 2 * part.nbytes
    np.testing.assert_array_equal(part[0, 0], voxels[key[2:]])


def test_pages_at_equal_distances_are_one_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    voxels = noise((300, 8, 8))
    with tifffile.TiffWriter(path) as writer:
        for plane in voxels:
            writer.write(plane, contiguous=False, metadata=None)
    image = opened(path)
    assert len(describe(image)["pages"]) < 5
    np.testing.assert_array_equal(image[ALL][0, 0], voxels)


def test_a_hyperstack_behind_one_page_is_read_beyond_4_gigabytes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    first = noise((64, 64))
    tifffile.imwrite(path, first, imagej=True, metadata={"axes": "YX"})
    planes = (5 << 30) // first.nbytes
    with tifffile.TiffFile(path, mode="r+") as tif:
        page = tif.pages.first
        begin = page.dataoffsets[0]
        text = f"ImageJ=1.11a\nimages={planes}\nslices={planes}\n"
        page.tags["ImageDescription"].overwrite(text)
    last = noise((64, 64), seed=5)
    with path.open("r+b") as file:  # sparse
        file.truncate(begin + planes * first.nbytes)
        # tifffile may have put the new description behind the first plane.
        file.seek(begin + (planes - 1) * first.nbytes)
        file.write(last.tobytes())
    image = opened(path)
    assert image.shape == (1, 1, planes, 64, 64)
    z = slice(planes - 1, planes)
    np.testing.assert_array_equal(image[(*ALL[:2], z, *ALL[3:])][0, 0, 0], last)
    with path.open("r+b") as file:
        file.truncate(begin + planes * first.nbytes - 1)
    refused(path)


def test_series_are_scenes(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    images = {"left": noise((3, 16, 24)), "right": noise((2, 20, 30), seed=3)}
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, voxels in images.items():
            metadata = {"axes": "ZYX", "Name": name, "PhysicalSizeX": len(voxels)}
            writer.write(voxels, metadata=metadata, subifds=1)
            writer.write(voxels[:, ::2, ::2], subfiletype=1)
    found = scenes_of(str(path))
    assert [(scene.number, scene.name) for scene in found] == [
        (0, "left"),
        (1, "right"),
    ]
    for i, voxels in enumerate(images.values()):
        image = opened(path, scene=i)
        np.testing.assert_array_equal(image[ALL][0, 0], voxels)
        assert image.scale_um[2] == len(voxels)
    assert "'right'" in refused(path)
    assert "has 2 scenes" in refused(path, scene=2)


def test_reduced_copies_among_the_pages_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    voxels = noise((40, 60))
    with tifffile.TiffWriter(path) as writer:
        writer.write(voxels, metadata=None)
        writer.write(voxels[:20, :50], metadata=None, subfiletype=1)
    np.testing.assert_array_equal(opened(path)[ALL][0, 0, 0], voxels)


def test_colour_images_are_refused_unless_they_are_called_channels(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    for planar, axes in ((False, "yxc"), (True, "cyx")):
        shape = (3, 16, 24) if planar else (16, 24, 3)
        voxels = noise(shape, "uint8")
        config = "separate" if planar else "contig"
        tifffile.imwrite(path, voxels, photometric="rgb", planarconfig=config)
        said = refused(path)
        assert "RGB" in said
        assert repr(axes) in said
        image = opened(path, axes=axes)
        ordered = voxels if planar else voxels.transpose(2, 0, 1)
        np.testing.assert_array_equal(image[ALL][0, :, 0], ordered)


def test_axes_that_nobody_names_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    voxels = noise((2, 3, 16, 24))
    tifffile.imwrite(path, voxels, photometric="minisblack")
    assert "input.axes" in refused(path)
    image = opened(path, axes="tzyx")
    np.testing.assert_array_equal(image[ALL][:, 0], voxels)


def test_other_types_of_voxels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 24), np.int32))
    assert "int32" in refused(path)


HOWS: dict[str, dict[str, Any]] = {
    "ome": {"ome": True, "tile": (16, 16), "compression": "zlib"},
    "imagej": {"imagej": True},
    "one piece": {"photometric": "minisblack", "truncate": True},
    "pages": {"metadata": None, "rowsperstrip": 8, "compression": "lzw"},
}


def written(path: Path, how: str) -> np.ndarray:
    voxels = noise((4, 32, 32))
    if how == "pages":
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            for plane in voxels:
                writer.write(plane, contiguous=False, **HOWS[how])
    else:
        tifffile.imwrite(path, voxels, metadata={"axes": "ZYX"}, **HOWS[how])
    return voxels


@pytest.mark.parametrize("how", HOWS)
def test_files_that_are_cut_off_are_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.tif"
    voxels = written(path, how)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    refusals = 0
    for size in [0, 1, 9, len(whole) - 1, *rng.integers(2, len(whole), 20)]:
        path.write_bytes(whole[: int(size)])
        try:
            image = opened(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - or nothing that matters lacks
            refusals += 1
        else:
            np.testing.assert_array_equal(image[ALL][0, 0], voxels)
    assert refusals >= 20


@pytest.mark.parametrize("how", HOWS)
def test_damaged_files_are_refused_or_read(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.tif"
    voxels = written(path, how)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        begin, end = page.offset, page.offset + 20 * len(page.tags) + 20
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    places = [*range(16), *rng.integers(begin, end, 150)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            image = opened(path)
            key = tuple(slice(0, min(n, 64)) for n in image.shape)
            assert image[key].ndim == 5
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - reading it may do as well
    assert voxels.any()


def test_a_damaged_segment_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    written(path, "ome")
    image = opened(path)
    with tifffile.TiffFile(path) as tif:
        begin = tif.pages[2].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(struct.pack("<Q", 1))
    image[(*ALL[:2], slice(0, 2), *ALL[3:])]
    with pytest.raises(InputError, match=r"a\.ome\.tif.*Expected"):
        image[ALL]


def test_what_tifffile_says_is_said_in_our_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    written(path, "pages")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path)
    assert capfd.readouterr() == ("", "")
