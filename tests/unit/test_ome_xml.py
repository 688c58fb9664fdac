"""OME-XML by the schema, and what it keeps of a file's own metadata."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from demo_czi import write_czi
from ome_types import OME, from_xml
from pylibCZIrw import czi

from denoise_daisy.images.formats import open_image, original_of
from denoise_daisy.images.image import Channel
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.original import Acquisition, Light, Objective, Original
from denoise_daisy.outputs.ome_xml import Collected, ome_xml
from harness import REAL_DATA, small_image

SHAPE = (2, 2, 3, 16, 20)


def described(**more: object) -> Collected:
    values: dict[str, object] = {
        "path": "0",
        "name": "an image",
        "shape": SHAPE,
        "dtype": "float32",
        "scale_um": (0.5, None, 0.1),
        "channels": (Channel("red", "FF0000"), Channel("green", "00FF00")),
        "time_step_s": 2.5,
    }
    return Collected(**(values | more))  # type: ignore[arg-type]


def parsed(text: str) -> OME:
    """The document, held against the schema of OME by xmlschema."""
    return from_xml(text, validate=True)


def original(path: Path, scene: int | None = None) -> Original:
    return original_of(open_image(OneInput(path=str(path), scene=scene)))


def kept(text: str) -> ElementTree.Element:
    """The element that stands as the original metadata."""
    [value] = [
        n for n in ElementTree.fromstring(text).iter() if n.tag.endswith("}Value")
    ]
    [element] = value
    return element


def test_an_image_is_told_in_full() -> None:
    objective = Objective("Plan 20x", 20, 0.8, "Silicone oil")
    taken = Acquisition(
        date="2021-06-15T06:09:43.0304818Z",
        microscope="Stand",
        objective=objective,
        channels=(Light(0.03, 488, 509, "EGFP"), Light()),
    )
    ome = parsed(ome_xml([described(acquisition=taken)]))
    [image], [instrument] = ome.images, ome.instruments
    assert (image.id, image.name) == ("Image:0", "an image")
    assert image.acquisition_date is not None
    assert image.acquisition_date.year == 2021
    pixels = image.pixels
    assert pixels.type.value == "float"
    sizes = [getattr(pixels, f"size_{axis}") for axis in "tczyx"]
    assert tuple(sizes) == SHAPE
    assert pixels.physical_size_z == 0.5
    assert pixels.physical_size_y is None
    assert pixels.physical_size_x == 0.1
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (2.5, "s")
    first, second = pixels.channels
    assert (first.name, first.fluor) == ("red", "EGFP")
    assert (first.excitation_wavelength, first.emission_wavelength) == (488, 509)
    assert first.color.as_rgb_tuple()[:3] == (255, 0, 0)
    assert second.color.as_rgb_tuple()[:3] == (0, 255, 0)
    [plane] = pixels.planes
    assert (plane.the_c, plane.exposure_time) == (0, 0.03)
    assert instrument.microscope is not None
    assert instrument.microscope.model == "Stand"
    [glass] = instrument.objectives
    assert (glass.model, glass.nominal_magnification, glass.lens_na) == (
        *("Plan 20x", 20, 0.8),
    )
    assert glass.immersion is not None
    assert glass.immersion.value == "Other"


def test_what_a_file_says_of_itself_is_kept_whole(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", small_image(SHAPE))
    with czi.open_czi(str(path)) as opened:
        whole = opened.raw_metadata
    text = ome_xml([described()], original(path))
    parsed(text)
    assert ElementTree.canonicalize(
        ElementTree.tostring(kept(text), encoding="unicode"), strip_text=True
    ) == ElementTree.canonicalize(whole, strip_text=True)


def test_the_xml_of_an_ome_tiff_is_kept_in_its_own_namespace(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "TCZYX", "PhysicalSizeX": 0.2, "Name": "from a TIFF"}
    tifffile.imwrite(path, small_image(SHAPE), metadata=metadata)
    text = ome_xml([described()], original(path))
    assert [image.name for image in parsed(text).images] == ["an image"]
    element = kept(text)
    assert element.tag == "{http://www.openmicroscopy.org/Schemas/OME/2016-06}OME"
    assert [i.get("Name") for i in element if i.tag.endswith("}Image")] == [
        "from a TIFF"
    ]


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("CellDivision_T3_Z5_CH2_X240_Y170.czi", None),
        ("LLS7_small.czi", None),
        ("S3_1Pos_2Mosaic_T2_Z3_CH2_sm.czi", 1),
    ],
)
def test_metadata_of_microscopes_make_valid_documents(
    name: str, scene: int | None
) -> None:
    path = REAL_DATA / name
    if not path.exists():
        pytest.skip("the real files are not here")
    found = original(path, scene)
    text = ome_xml([described(acquisition=found.acquisition)], found)
    [image] = parsed(text).images
    assert image.acquisition_date is not None
    assert image.pixels.planes[0].exposure_time in (0.1, 0.03, 0.002)
    assert kept(text).tag == "ImageDocument"


HOSTILE = {
    "no XML": "a < b & ]]> \x00",
    "with a document type": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "of odd namespaces": '<x:a xmlns:x="urn:x"><b c="@original@>"/></x:a>',
    "with a prolog": '<?xml version="1.0"?><!-- > --><?pi x?>\n<a><!--b--><c/></a>',
    "empty": "<a/>",
    "cut off": "<a><b></a",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_no_metadata_make_a_document_that_nobody_can_read(how: str) -> None:
    channels = (Channel("\x00 <&\ud800", "no"), Channel(">@original@<", "00FF00"))
    broken = Acquisition(date="yesterday", microscope="<&\x01")
    image = described(channels=channels, name="\x0b", acquisition=broken)
    text = ome_xml([image], Original(HOSTILE[how], "XML"))
    ome = parsed(text.encode("utf-8").decode())
    assert ome.images[0].pixels.channels[1].name == ">@original@<"
    assert ome.images[0].acquisition_date is None
    assert bool(ome.structured_annotations.comment_annotations) == (
        how in ("no XML", "with a document type", "cut off")
    )


def test_damaged_metadata_are_left_out_and_said(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", small_image(SHAPE))
    image = open_image(OneInput(path=str(path)))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"<Metadata>", b"<Metadata<"))
    found = original_of(image)
    assert found.text == ""
    assert "ParseError" in found.problem
    path.unlink()
    assert "InputError" in original_of(image).problem
    assert np.prod(parsed(ome_xml([described()], found)).images[0].pixels.size_x) == 20
