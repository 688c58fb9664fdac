"""`inspect` tells what a file holds, and what of it can't be denoised."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi

from denoise_daisy.images.czi import open_czi
from denoise_daisy.runs.inspect import inspect
from harness.czi_files import CELLS, LATTICE, MOSAIC, noise, set_xml, write_tiles
from harness.program import here
from harness.refused import assert_one_paragraph


def recorded(path: Path, *steps: str, image: str = "") -> Path:
    """A CZI that says of itself that it was processed so."""
    write_czi(path, noise((1, 1, 2, 8, 9)))
    trail = f'<AuditTrail ProcessingSteps="{len(steps)}">{"".join(steps)}</AuditTrail>'
    said = f"<CustomAttributes><AuditTrail>{escape(trail)}</AuditTrail>"
    said += f"</CustomAttributes><Information><Image>{image}</Image></Information>"
    return set_xml(path, lambda xml: xml.replace("<Metadata>", f"<Metadata>{said}", 1))


def test_everything_that_was_written_is_told(tmp_path: Path) -> None:
    image = np.arange(2 * 3 * 4 * 5 * 6, dtype="uint16").reshape(2, 3, 4, 5, 6)
    path = write_czi(
        tmp_path / "a.czi",
        image,
        start=(3, 0, 7),
        location=(-20, 40),
        names=("red", "green", "blue"),
        scale_um=(2.0, 0.25, 0.5),
        time_step_s=12.0,
    )
    facts = inspect(path).facts
    assert facts.bytes == path.stat().st_size
    assert facts.compressions == {"none": 2 * 3 * 4}
    assert facts.reduced_copies == 0
    assert facts.voxel_size_um == {"z": 2.0, "y": 0.25, "x": 0.5}
    assert facts.time_step_s == 12.0
    assert facts.processing == ()
    (scene,) = facts.scenes
    assert scene.scene is None
    assert scene.problem is None
    assert scene.ranges["T"] == (3, 5)
    assert scene.ranges["Z"] == (7, 11)
    assert scene.ranges["X"] == (-20, -14)
    assert scene.ranges["Y"] == (40, 45)
    assert scene.shape == image.shape
    assert scene.dtype == "uint16"
    assert scene.tiles == 1
    assert [c.name for c in scene.channels] == ["red", "green", "blue"]
    lows, highs = image.min(axis=(0, 2, 3, 4)), image.max(axis=(0, 2, 3, 4))
    expected = list(zip(lows.tolist(), highs.tolist(), strict=True))
    assert [c.grey_levels for c in scene.channels] == expected


def test_what_was_told_is_there_as_text_and_as_json(tmp_path: Path) -> None:
    image = np.full((1, 1, 2, 8, 9), 7, "uint8")
    image[0, 0, 1, 2, 3] = 9
    path = write_czi(tmp_path / "a.czi", image, names=("DAPI",))
    said = here("inspect", path)
    assert said.returncode == 0, said.stderr
    for words in (
        "whole)",
        "1 x 1 x 2 x 8 x 9 (t c z y x) uint8",
        "Z 0:2",
        "DAPI: grey levels 7 to 9",
        "z 0.3, y 0.145, x 0.145",
        "30 s",
        "none (2 tiles)",
        "none recorded",
    ):
        assert words in said.stdout
    values = json.loads(here("inspect", "--json", path).stdout)
    assert values["scenes"][0]["shape"] == [1, 1, 2, 8, 9]
    assert values["scenes"][0]["channels"][0]["grey_levels"] == [7.0, 9.0]


def test_a_plan_of_an_image_is_what_it_holds(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "A.CZI", noise((1, 1, 2, 8, 9)))
    for options in ((), ("--json",)):
        said = here("plan", *options, path)
        assert said.returncode == 0, said.stderr
        assert said.stdout == here("inspect", *options, path).stdout


@pytest.mark.parametrize(
    ("options", "name"), [("zstd0:ExplicitLevel=1", "Zstd0"), ("zstd1:", "Zstd1")]
)
def test_compression_is_told(options: str, name: str, tmp_path: Path) -> None:
    image = np.zeros((1, 1, 3, 64, 64), "uint16")
    path = write_czi(tmp_path / "a.czi", image, compression=options)
    assert inspect(path).facts.compressions == {name: 3}


def test_a_scene_that_cannot_be_denoised_says_why_and_others_are_told(
    tmp_path: Path,
) -> None:
    tiles = [
        ("T0 C0 Z0 S0", np.full((6, 7), 5, "uint16"), (0, 0)),
        ("T0 C0 Z0 S1", noise((6, 7, 3), "uint8"), (100, 0)),
    ]
    path = write_tiles(tmp_path / "a.czi", tiles)
    good, bad = inspect(path).facts.scenes
    assert (good.scene, good.problem, good.shape) == (0, None, (1, 1, 1, 6, 7))
    assert (bad.scene, bad.shape) == (1, None)
    assert bad.problem is not None
    assert "colour image (Bgr24)" in bad.problem
    assert bad.ranges["X"] == (100, 107)
    said = here("inspect", path)
    assert said.returncode == 0
    assert "can't be denoised" in said.stdout
    assert "scenes      2" in said.stdout


def test_tiles_of_a_plane_are_counted(tmp_path: Path) -> None:
    tiles = [
        (f"T0 C0 Z{z}", np.ones((6, 7), "uint16"), (7 * i, 0))
        for z, count in enumerate((2, 3))
        for i in range(count)
    ]
    (scene,) = inspect(write_tiles(tmp_path / "a.czi", tiles)).facts.scenes
    assert scene.tiles == 3
    assert scene.channels[0].grey_levels == (1, 1)  # and no 0 of a gap
    assert any("gaps between tiles" in warning for warning in scene.warnings)


def test_grey_levels_are_looked_for_over_time_and_depth(tmp_path: Path) -> None:
    image = np.full((4, 1, 30, 8, 9), 50, "uint16")
    image[0, 0, 0], image[3, 0, 29] = 20, 90
    (scene,) = inspect(write_czi(tmp_path / "a.czi", image)).facts.scenes
    assert scene.channels[0].grey_levels == (20, 90)


def test_what_is_no_number_is_no_grey_level(tmp_path: Path) -> None:
    image = np.full((1, 2, 1, 8, 9), 2.5, "float32")
    image[0, 0, 0, 3, 3], image[0, 1] = np.inf, np.nan
    (scene,) = inspect(write_czi(tmp_path / "a.czi", image)).facts.scenes
    assert [c.grey_levels for c in scene.channels] == [(2.5, 2.5), None]
    assert "grey levels not looked at" in here("inspect", tmp_path / "a.czi").stdout


def test_a_file_that_is_cut_short_is_not_whole(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 4, 32, 32)))
    path.write_bytes(path.read_bytes()[:-2000])
    said = here("inspect", path)
    assert said.returncode == 2
    assert said.stdout == ""
    assert_one_paragraph(said.stderr, (str(path), "cut short", "copy it again"))


def test_many_scenes_are_told_in_few_lines(tmp_path: Path) -> None:
    tiles = [
        (f"T0 C0 Z0 S{s}", np.full((4, 4), 10 + s, "uint16"), (10 * s, 0))
        for s in range(96)
    ]
    path = write_tiles(tmp_path / "plate.czi", tiles)
    said = here("inspect", path).stdout
    assert "scenes      96" in said
    assert "84 scenes more" in said
    assert len(said.splitlines()) < 80
    scenes = inspect(path).facts.scenes
    assert [scene.scene for scene in scenes] == list(range(96))
    levels = [scene.channels[0].grey_levels for scene in scenes]
    assert levels == [(10 + s, 10 + s) if s < 48 else None for s in range(96)]


# What was done before


@pytest.mark.parametrize(
    "step",
    [
        "DeconvolutionApplication",
        "Deskew",
        "UnsharpMask",
        "AiryscanProcessing",
        "Rescale",
        "Resample",
        "Gauss",
        "Median",
        "Stitching",
    ],
)
def test_processing_that_mixes_neighbours_is_warned_of(
    step: str, tmp_path: Path
) -> None:
    path = recorded(tmp_path / "a.czi", f"<{step}><Radius>1</Radius></{step}>")
    assert inspect(path).facts.processing == (step,)
    (warning,) = open_czi(str(path)).warnings
    assert f"processed ({step})" in warning
    assert "correlated between neighbours" in warning


def test_processing_of_voxels_by_themselves_is_told_without_a_warning(
    tmp_path: Path,
) -> None:
    path = recorded(
        tmp_path / "a.czi",
        "<CreateSubsetKeepStructure/>",
        "<BackgroundSubtraction><Radius>5</Radius></BackgroundSubtraction>",
        "<CreateSubset/>",
    )
    assert inspect(path).facts.processing == ("BackgroundSubtraction",)
    assert open_czi(str(path)).warnings == ()


def test_steps_are_told_in_order_with_their_algorithm(tmp_path: Path) -> None:
    path = recorded(
        tmp_path / "a.czi",
        "<BackgroundSubtraction/>",
        "<DeconvolutionApplication><Algorithm>FastIterative</Algorithm>"
        "</DeconvolutionApplication>",
    )
    steps = ("BackgroundSubtraction", "DeconvolutionApplication (FastIterative)")
    assert inspect(path).facts.processing == steps
    assert "BackgroundSubtraction, then Deconvol" in here("inspect", path).stdout


@pytest.mark.parametrize("trail", ["", "no XML", "<AuditTrail><Deskew>"])
def test_a_record_that_cannot_be_read_tells_nothing(trail: str, tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 2, 8, 9)))
    said = f"<CustomAttributes><AuditTrail>{escape(trail)}</AuditTrail>"
    said += "</CustomAttributes>"
    set_xml(path, lambda xml: xml.replace("<Metadata>", f"<Metadata>{said}", 1))
    assert inspect(path).facts.processing == ()
    assert open_czi(str(path)).warnings == ()


@pytest.mark.parametrize(
    ("method", "quality", "lossy"),
    [
        ("JpgXr", "85", True),
        ("JpgXr", "100", False),
        ("Uncompressed", "85", False),
        ("Zstd", "50", False),
        ("JpegFile", "99", True),
    ],
)
def test_compression_with_loss_is_warned_of(
    method: str, quality: str, lossy: bool, tmp_path: Path
) -> None:
    image = f"<OriginalCompressionMethod>{method}</OriginalCompressionMethod>"
    image += f"<OriginalEncodingQuality>{quality}</OriginalEncodingQuality>"
    warnings = open_czi(str(recorded(tmp_path / "a.czi", image=image))).warnings
    assert [f"quality {quality} of 100" in warning for warning in warnings] == (
        [True] if lossy else []
    )


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (
            CELLS,
            "DeconvolutionApplication (ConstrainedIterative), BackgroundSubtraction",
        ),
        (
            LATTICE,
            "DeconvolutionApplication (ConstrainedIterative), Deskew, UnsharpMask",
        ),
        (MOSAIC, "Rescale"),
    ],
)
def test_a_real_file_tells_how_it_was_processed(
    name: str, steps: str, real_czi: Callable[[str], Path]
) -> None:
    path = real_czi(name)
    facts = inspect(path).facts
    assert ", ".join(facts.processing) == steps
    with pylibczi.open_czi(str(path)) as reader:
        boxes = reader.total_bounding_box
    for scene in facts.scenes:
        assert scene.shape is not None
        assert scene.shape[:3] == tuple(boxes[d][1] for d in "TCZ")
