"""A preview shows what the run writes, bit for bit, and leaves nothing but its page.

The arrays are compared with those of real runs, and with ndsafir on the whole image.
"""

import json
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from funlib.geometry import Coordinate, Roi

from denoise_daisy.geometry import stencil
from denoise_daisy.images.czi import CziImage
from denoise_daisy.runs.preview import Preview, preview
from harness import (
    config_for,
    here,
    load,
    output_of,
    small_image,
    whole_image,
    write_config,
)
from harness.czi_files import write_tiles
from harness.oracles import go


def shown(config: dict[str, Any], *rois: str, **options: Any) -> Preview:
    options.setdefault("say", lambda _: None)
    return preview(load(config), name="config.json", rois=rois, **options)


def cut(image: np.ndarray, roi: Roi, begin: tuple[int, ...] = (0, 0, 0, 0)) -> Any:
    t, z, y, x = (roi - Coordinate(begin)).to_slices()
    return image[t, :, z, y, x]


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_a_mosaic_with_gaps_is_shown_as_the_run_writes_it(tmp_path: Path) -> None:
    """Two channels, mirrored layers, a part of the image, at borders and gaps."""
    shape = (2, 2, 4, 50, 61)
    image = small_image(shape)
    image[:, :, :, 30:, :20] = 0
    tiles = []
    for t, c, z in np.ndindex(shape[:3]):
        plane, where = image[t, c, z], f"T{t} C{c} Z{z}"
        tiles.append((where, plane[:30], (0, 0)))
        tiles.append((where, plane[30:, 20:], (20, 30)))
    output = tmp_path / "out.zarr"
    config = config_for(
        write_tiles(tmp_path / "in.czi", tiles),
        output,
        noise_channels=2,
        denoise={"cover": "all", "patch": {"z": 1, "y": 2, "x": 2}},
        input={"roi": {"y": [3, 50], "z": [1, 4]}},
        blocks={"shape": {"y": 16, "x": 16}},
        output={"chunks": {"z": 2, "y": 16, "x": 16}},
    )
    before = listing(tmp_path)
    found = shown(
        config,
        "t=0,z=1:3,y=3:40,x=0:30",
        "t=1,z=3,y=20:50,x=33:61",
        "t=0:2,z=2:4,y=28:34,x=10:40",
    )
    assert listing(tmp_path) == before
    go(config)
    written = output_of(output)
    for part in found.own.parts:
        there = cut(written, part.region.roi, (0, 1, 3, 0))
        np.testing.assert_array_equal(part.denoised, there)
        assert part.denoised.dtype == np.uint16
        np.testing.assert_array_equal(part.raw, cut(image, part.region.roi))
    gaps = [part.gaps for part in found.own.parts]
    assert gaps == pytest.approx([(10 * 20) / (37 * 30), 0, (4 * 10) / (6 * 30)])


def test_calibrated_numbers_and_chosen_regions_are_the_runs(tmp_path: Path) -> None:
    """Numbers that a run has found are taken from its record, and not found again."""
    output = tmp_path / "out.zarr"
    config = config_for(
        write_czi(tmp_path / "in.czi", small_image((2, 1, 6, 120, 200))),
        output,
        noise={"kind": "poisson-gaussian"},
        denoise={"max_iter": 3, "active_dimensions": "tzyx"},
    )
    said: list[str] = []
    found = shown(config, auto=3, say=said.append)
    assert said[0] == "Calibrating the noise..."
    go(config)
    record = json.loads((tmp_path / "out.zarr.run" / "run.json").read_text())
    probed = json.loads(json.dumps(found.own.trial.denoiser.probed))
    assert probed == record["stages"]["denoise"]["probed"]
    assert len(found.own.parts) == 3
    for part in found.own.parts:
        there = cut(output_of(output), part.region.roi)
        np.testing.assert_array_equal(part.denoised, there)
    again: list[str] = []
    later = shown(config, auto=3, say=again.append)
    assert len(again) == 1
    assert again[0].startswith("Denoising 3 regions, which takes about ")
    for one, other in zip(found.own.parts, later.own.parts, strict=True):
        np.testing.assert_array_equal(one.denoised, other.denoised)
        assert one.figures == other.figures


SHAPES = {
    "plane": (1, 1, 1, 70, 80),
    "movie": (5, 1, 1, 40, 50),
    "stack": (1, 2, 5, 40, 50),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_of_all_shapes_and_types_are_shown(
    name: str, dtype: str, tmp_path: Path
) -> None:
    image = small_image(SHAPES[name]).astype(dtype)
    if dtype == "uint8":
        image = (small_image(SHAPES[name]) / 40).clip(0, 255).astype(dtype)
    noise = {"kind": "gaussian", "noise_std": 12.0 if dtype != "uint8" else 1.5}
    source = write_czi(tmp_path / "in.czi", image)
    config = config_for(source, tmp_path / "out.zarr", noise=noise)
    found = shown(config, auto=2)
    expected = whole_image(image, config)
    if dtype != "float32":
        expected = np.rint(expected).clip(0, np.iinfo(dtype).max).astype(dtype)
    for part in found.own.parts:
        np.testing.assert_array_equal(part.denoised, cut(expected, part.region.roi))
        assert len(part.figures) == len(part.noise_left) == image.shape[1]
        assert max(part.noise_left) < 0.7
    assert {p.region.roi.shape[1] for p in found.own.parts} == {min(4, image.shape[2])}


def test_each_row_of_a_sweep_is_what_a_run_with_it_would_write(tmp_path: Path) -> None:
    image = small_image((1, 1, 3, 50, 60))
    config = config_for(write_czi(tmp_path / "in.czi", image), tmp_path / "out.zarr")
    sweep = ["max_iter=2,3", "patch.z=0,1"]
    found = shown(config, "z=0:3,y=4:44,x=9:60", sweep=sweep)
    assert [(t.is_own, t.settings) for t in found.tried] == [
        (n == 2 and z == 0, {"denoise.max_iter": n, "denoise.patch.z": z})
        for n in (2, 3)
        for z in (0, 1)
    ]
    for tried in found.tried:
        patch = config["denoise"]["patch"] | {"z": tried.settings["denoise.patch.z"]}
        n = tried.settings["denoise.max_iter"]
        changed = config | {"denoise": {"max_iter": n, "patch": patch}}
        expected = np.rint(whole_image(image, changed)).astype(np.uint16)
        (part,) = tried.parts
        np.testing.assert_array_equal(part.denoised, cut(expected, part.region.roi))
    assert found.best in found.tried
    other = shown(config, "z=0:3,y=4:44,x=9:60", sweep=["pvalue=0.3"])
    assert [t.is_own for t in other.tried] == [True, False]
    assert other.own.settings == {}


def test_a_region_is_read_once_with_its_context_whatever_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the widest reach of all, from a position of ndsafir's grid, every second."""
    source = write_czi(tmp_path / "in.czi", small_image((2, 1, 3, 90, 130)))
    config = config_for(source, tmp_path / "out.zarr")
    read: list[tuple[int, ...]] = []
    whole = CziImage.__getitem__

    def counted(image: CziImage, key: tuple[slice, ...]) -> np.ndarray:
        voxels = whole(image, key)
        if voxels.size:
            read.append(voxels.shape)
        return voxels

    monkeypatch.setattr(CziImage, "__getitem__", counted)
    shown(config, "z=1,y=0:10,x=60:70", sweep=["max_iter=1,2,3"])
    reach = max(stencil(Coordinate(0, 0, 1, 1), "zyx", n).reach[3] for n in (1, 2, 3))
    begin = (60 - reach) // 2 * 2
    assert read == [(1, 1, 3, 10 + reach, 70 + reach - begin)]


def test_a_filter_that_knows_no_noise_is_shown_without_what_needs_it(
    tmp_path: Path,
) -> None:
    config = config_for(
        write_czi(tmp_path / "in.czi", small_image((1, 1, 3, 50, 60))),
        tmp_path / "out.zarr",
        denoise={},
    )
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
    path = write_config(tmp_path / "config.json", config)
    end = here("preview", path, "--auto", "1", "--sweep", "size.y=3,5")
    assert end.returncode == 0, end.stderr
    assert "best " not in end.stdout
    page = (tmp_path / "config.preview.html").read_text("utf-8")
    assert "Nothing is recommended" in page
    assert "Simulated pure noise" not in page


def test_the_whole_takes_what_its_parts_take(tmp_path: Path) -> None:
    """The region is all of the run: the same steps, and 30 ns to read each voxel."""
    config = config_for(
        write_czi(tmp_path / "in.czi", small_image((1, 1, 2, 40, 50))),
        tmp_path / "out.zarr",
        workers={"count": 1},
    )
    found = shown(config, "z=0:2,y=0:40,x=0:50")
    (part,) = found.own.parts
    io = 3e-8 * 2 * 40 * 50
    assert found.own.core_seconds == pytest.approx(part.core_seconds + io)
    expected = (part.core_seconds + io) / (2 * 40 * 50)
    assert found.seconds_per_voxel(found.own) == pytest.approx(expected)
    twice = shown(config, "z=0:2,y=0:40,x=0:50", "z=0:2,y=0:40,x=0:50")
    seconds = [p.core_seconds for p in twice.own.parts]
    assert twice.own.core_seconds == pytest.approx(sum(seconds) / 2 + io)


class Page(HTMLParser):
    """What matters of a page: its tags, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def named_badly(tmp_path: Path) -> Path:
    """A config whose names are made of what HTML has other uses for."""
    folder = tmp_path / "<b>&'\""
    folder.mkdir()
    source = write_czi(
        folder / "<i>&.czi",
        small_image((1, 2, 3, 60, 200)),
        names=("<script>", "a & b"),
    )
    config = config_for(source, folder / "out.zarr", noise_channels=2)
    return write_config(folder / "c <u>.json", config)


def test_the_page_is_one_file_that_anybody_can_read(named_badly: Path) -> None:
    folder = named_badly.parent
    before = listing(folder)
    end = here("preview", named_badly, "--auto", "2", "--sweep", "pvalue=0.05,0.4")
    assert end.returncode == 0, end.stderr
    file = folder / "c <u>.preview.html"
    assert listing(folder) - before == {file}
    assert end.stdout.endswith(f"\nPreview: {file}\n")
    assert end.stdout.count("\n  <script>: residual variance ") == 2
    assert "\nbest     " in end.stdout
    text = file.read_text("utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "i", "u"} & {tag for tag, _ in page.tags}
    for word in ("<i>&.czi", "c <u>.json", "Channel <script>", "Channel a & b"):
        assert word in page.text
    images = page.all("img")
    # Raw, denoised, residual, three plots, noise before and after; also as recommended.
    assert len(images) in {2 * 2 * 8, 2 * 2 * 8 * 2}
    assert all(str(i["src"]).startswith("data:image/") for i in images)
    alts = [i["alt"] for i in images]
    assert all(alts)
    assert not [
        v
        for _, a in page.tags
        for k, v in a.items()
        if k == "href" and v and v[0] != "#"
    ]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a")} <= {f"#{i}" for i in ids}
    levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a.get("scope") in {"row", "col"} for a in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]


def test_a_preview_replaces_its_own_page_and_no_other_file(tmp_path: Path) -> None:
    source = write_czi(tmp_path / "in.czi", small_image((1, 1, 1, 40, 40)))
    config = config_for(source, tmp_path / "out.zarr")
    path = write_config(tmp_path / "config.json", config)
    file = tmp_path / "mine.html"
    ask = ("preview", path, "--auto", "1", "-o", file)
    assert here(*ask).returncode == 0
    first = file.read_bytes()
    assert here(*ask).returncode == 0
    assert len(file.read_bytes()) == pytest.approx(len(first), rel=0.01)
    file.write_text("<html>somebody else's</html>")
    end = here(*ask)
    assert (end.returncode, file.read_text()) == (2, "<html>somebody else's</html>")
    assert "exists and is no preview" in end.stderr
    (tmp_path / "link.html").symlink_to(source)
    run_dir = tmp_path / "out.zarr.run"
    for place, why in {
        tmp_path / "out.zarr" / "a.html": "lies at or in",
        run_dir / "a.html": "lies at or in",
        source: "lies at or in",
        tmp_path / "link.html": "lies at or in",
        tmp_path / "none" / "a.html": "in no folder that is there",
        tmp_path: "is a folder",
    }.items():
        end = here("preview", path, "-o", place)
        assert end.returncode == 2, place
        assert why in end.stderr
    assert not run_dir.exists()


def test_what_a_run_would_refuse_a_preview_refuses(tmp_path: Path) -> None:
    source = write_czi(tmp_path / "in.czi", small_image((1, 1, 2, 40, 40)))
    config = config_for(source, tmp_path / "out.zarr")
    path = write_config(tmp_path / "config.json", config)
    before = listing(tmp_path)
    for words, said in {
        ("--sweep", "pvalu=1"): "did you mean 'pvalue'?",
        ("--sweep", "pvalue=7"): "'denoise.pvalue' is 7, expected",
        ("--sweep", "patch.z=1"): "denoise.patch.z is 1, but the image has only 2",
        ("--roi", "z=0:3"): "--roi 'z=0:3' asks for z 0:3",
    }.items():
        end = here("preview", path, *words)
        assert end.returncode == 2, words
        assert said in end.stderr
    for wrong in (("--roi", "z=0:1", "--auto", "2"), ("--auto", "0")):
        with pytest.raises(SystemExit) as caught:
            here("preview", path, *wrong)
        assert caught.value.code == 2
    foreign = config | {"output": {"path": str(tmp_path / "foreign.zarr")}}
    (tmp_path / "foreign.zarr").mkdir()
    (tmp_path / "foreign.zarr" / "thesis.txt").touch()
    end = here("preview", write_config(tmp_path / "foreign.json", foreign))
    assert end.returncode == 4
    assert "was not made by this program" in end.stderr
    after = {"foreign.zarr", "foreign.zarr/thesis.txt", "foreign.json"}
    assert listing(tmp_path) - before == {tmp_path / name for name in after}
