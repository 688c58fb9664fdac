"""`init`: the config that it writes is complete, explained, and a sound run unchanged.

Sound means: the program takes it as it is, and what comes out is nearer to the truth
than what went in.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import BACKGROUND, add_noise, truth, write_czi

from denoise_daisy.__main__ import main
from denoise_daisy.config import Config
from denoise_daisy.config.json5_text import read_text
from denoise_daisy.errors import InputError
from denoise_daisy.launchers import KINDS
from denoise_daisy.runs.init import SCHEMA, init
from harness import output_of
from harness.czi_files import noise, set_xml, write_tiles

IMAGES: dict[str, tuple[tuple[int, ...], float | None, dict[str, Any]]] = {
    "a movie of single planes": (
        (6, 1, 1, 64, 64),
        None,
        {"active_dimensions": "zyx", "max_iter": 3, "time_as_z": True},
    ),
    "a stack of coarse z": (
        (1, 2, 4, 64, 64),
        0.5,
        {"active_dimensions": "zyx", "max_iter": 3, "patch": {"z": 0, "y": 3, "x": 3}},
    ),
    "a volume": (
        (1, 1, 8, 48, 64),
        0.1,
        {"active_dimensions": "zyx", "patch": {"z": 1, "y": 3, "x": 3}, "cover": "all"},
    ),
    "a single plane": (
        (1, 1, 1, 96, 96),
        None,
        {"active_dimensions": "yx", "max_iter": 4, "patch": {"z": 0, "y": 3, "x": 3}},
    ),
}


def made(
    path: Path, shape: tuple[int, ...], z_um: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A CZI of a noisy image: its voxels, 0.1 um wide, and their truth."""
    clean = truth(shape)
    noisy = add_noise(clean)
    write_czi(path, noisy, scale_um=(z_um or 0.1, 0.1, 0.1))
    return noisy, clean + BACKGROUND


def written(path: Path) -> dict[str, Any]:
    return dict(read_text(path.read_bytes()))


@pytest.mark.parametrize("name", IMAGES)
def test_the_config_runs_unchanged_and_denoises(name: str, tmp_path: Path) -> None:
    shape, z_um, expected = IMAGES[name]
    noisy, clean = made(tmp_path / "in.czi", shape, z_um)
    config = tmp_path / "config.json"
    assert main(["init", str(tmp_path / "in.czi"), "-o", str(config)]) == 0
    values = written(config)
    assert {key: values["denoise"][key] for key in expected} == expected
    assert f"// For {name}." in config.read_text("utf-8")
    assert values["input"]["path"] == "in.czi"
    assert values["output"]["path"] == "in_denoised.zarr"
    assert main([str(config)]) == 0
    denoised = output_of(tmp_path / "in_denoised.zarr")
    before, after = (np.sqrt(np.mean((i - clean) ** 2)) for i in (noisy, denoised))
    assert after < 0.5 * before


def test_the_numbers_are_those_that_a_run_would_calibrate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "in.czi", (1, 2, 4, 64, 64))
    init(tmp_path / "in.czi", tmp_path / "given.json")
    given = written(tmp_path / "given.json")
    assert list(given["noise"]["gains"]) == list(given["noise"]["offsets"])
    calibrated = given | {"noise": {"kind": given["noise"]["kind"]}}
    (tmp_path / "calibrated.json").write_text(json.dumps(calibrated))
    said = []
    for name in ("given", "calibrated"):
        assert main(["plan", str(tmp_path / f"{name}.json")]) == 0
        out = capsys.readouterr().out
        said.append(re.search(r"^noise +(.*?)( \(.*)?$", out, re.MULTILINE))
    first, second = said
    assert first is not None
    assert second is not None
    assert first[1] == second[1]


def test_two_channels_of_one_name_have_their_numbers_in_order(tmp_path: Path) -> None:
    made(tmp_path / "in.czi", (1, 2, 4, 64, 64))
    channels = '<Channel Name="GFP"/><Channel Name="GFP"/>'
    inner = f"<Channels>{channels}</Channels>"
    xml = f"<Information><Image><Dimensions>{inner}</Dimensions></Image></Information>"
    set_xml(
        tmp_path / "in.czi",
        lambda _: f"<ImageDocument><Metadata>{xml}</Metadata></ImageDocument>",
    )
    init(tmp_path / "in.czi", tmp_path / "c.json")
    noise_of = written(tmp_path / "c.json")["noise"]
    assert len(noise_of["gains"]) == len(noise_of["offsets"]) == 2
    assert isinstance(noise_of["gains"], list)


def test_noise_that_does_not_grow_with_the_signal_is_gaussian(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(1000, 5000, 128) * np.ones((1, 1, 1, 128, 1))
    image = np.rint(ramp + rng.normal(0, 20, ramp.shape)).astype(np.uint16)
    write_czi(tmp_path / "in.czi", image)
    init(tmp_path / "in.czi", tmp_path / "c.json")
    found = written(tmp_path / "c.json")["noise"]
    assert found["kind"] == "gaussian"
    assert found["noise_std"] == pytest.approx(20, rel=0.1)


def test_totals_are_kept_where_ndsafirs_inverse_would_change_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of counted photons, most of them none; a camera's many photons need nothing."""
    rng = np.random.default_rng(0)
    rate = np.linspace(0.1, 3, 128) * np.ones((1, 1, 2, 128, 1))
    write_czi(tmp_path / "few.czi", rng.poisson(rate).astype(np.uint8))
    made(tmp_path / "many.czi", (1, 1, 2, 96, 96))
    for name, inverse in (("few", "unbiased"), ("many", "ndsafir")):
        said = init(tmp_path / f"{name}.czi", tmp_path / f"{name}.json")
        assert "total is predicted to change" not in said
        assert written(tmp_path / f"{name}.json")["denoise"]["inverse"] == inverse
        assert main(["plan", str(tmp_path / f"{name}.json")]) == 0
        assert "total is predicted to change" not in capsys.readouterr().out


def test_an_image_that_tells_nothing_of_its_noise_gets_a_config_that_says_so(
    tmp_path: Path,
) -> None:
    write_czi(tmp_path / "in.czi", np.full((1, 1, 2, 32, 32), 7, np.uint16))
    said = init(tmp_path / "in.czi", tmp_path / "c.json")
    assert "Warning: The noise of channel" in said
    assert "// Warning: The noise of channel" in (tmp_path / "c.json").read_text()
    assert written(tmp_path / "c.json")["noise"] == {"kind": "poisson-gaussian"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_workers_is_complete_and_explained(
    kind: str, tmp_path: Path
) -> None:
    made(tmp_path / "in.czi", (1, 1, 1, 64, 64))
    path = tmp_path / "c.json"
    assert (
        main(["init", str(tmp_path / "in.czi"), "-o", str(path), "--workers", kind])
        == 0
    )
    values, text = written(path)["workers"], path.read_text("utf-8")
    assert values["kind"] == kind
    assert values.keys() == KINDS[kind].model_fields.keys()
    for key in values:
        assert re.search(rf'^    // .*\n    "{key}": ', text, re.MULTILINE), key
    assert Config.load(path).workers.kind == kind


def test_the_schema_lies_beside_it_for_editors(tmp_path: Path) -> None:
    made(tmp_path / "in.czi", (1, 1, 1, 64, 64))
    init(tmp_path / "in.czi", tmp_path / "c.json")
    named = tmp_path / written(tmp_path / "c.json")["$schema"]
    assert named.resolve() == (tmp_path / SCHEMA).resolve()
    assert json.loads(named.read_text("utf-8")) == Config.model_json_schema()


def test_sizes_channels_and_warnings_are_comments(tmp_path: Path) -> None:
    made(tmp_path / "in.czi", (3, 2, 4, 64, 64), 0.25)
    tiles = [("T0 C0 Z0", noise((9, 9)), (0, 0)), ("T0 C0 Z0", noise((9, 9)), (20, 0))]
    write_tiles(tmp_path / "gaps.czi", tiles)
    said = {}
    for name in ("in", "gaps"):
        init(tmp_path / f"{name}.czi", tmp_path / f"{name}.json")
        text = (tmp_path / f"{name}.json").read_text("utf-8")
        said[name] = " ".join(re.sub(r"\n *// ", " ", text).split())
        assert max(map(len, text.splitlines())) < 120
    assert "t 3, c 2, z 4, y 64, x 64 voxels of uint16" in said["in"]
    assert "z 0.25, y 0.1, x 0.1; 30 s between time points" in said["in"]
    assert "gaps between tiles" in said["gaps"]
    assert "// Warning" in (tmp_path / "gaps.json").read_text("utf-8")


def test_a_name_in_the_file_can_end_no_comment(tmp_path: Path) -> None:
    """Names come from the file: a line's end of any kind in them stays in its line."""
    made(tmp_path / "in.czi", (1, 1, 1, 64, 64))
    name = "A&#10;B\u2028C\u2029*/ D"
    channel = f'<Channels><Channel Name="{name}"/></Channels>'
    xml = (
        f"<Information><Image><Dimensions>{channel}</Dimensions></Image></Information>"
    )
    set_xml(
        tmp_path / "in.czi",
        lambda _: f"<ImageDocument><Metadata>{xml}</Metadata></ImageDocument>",
    )
    init(tmp_path / "in.czi", tmp_path / "c.json")
    (named,) = written(tmp_path / "c.json")["noise"]["gains"]
    assert named == "A\nB\u2028C\u2029*/ D"


def test_an_image_elsewhere_keeps_its_folder_and_its_output_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", "configs"):
        (tmp_path / name).mkdir()
    made(tmp_path / "data" / "in.czi", (1, 1, 1, 64, 64))
    monkeypatch.chdir(tmp_path / "data")
    init("in.czi", "../configs/c.json")
    config = Config.load(tmp_path / "configs" / "c.json")
    assert Path(config.input.one.path) == tmp_path / "data" / "in.czi"
    assert Path(config.output.path) == tmp_path / "data" / "in_denoised.zarr"
    init("in.czi")
    assert written(tmp_path / "data" / "config.json")["input"]["path"] == "in.czi"
    init("in.czi", tmp_path / "up.json")
    assert written(tmp_path / "up.json")["output"]["path"] == "data/in_denoised.zarr"


def two_scenes(path: Path) -> Path:
    return write_tiles(
        path,
        [
            ("S0 T0 C0 Z0", noise((40, 40)), (0, 0)),
            ("S1 T0 C0 Z0", noise((50, 60), seed=1), (100, 0)),
        ],
    )


def test_of_several_scenes_one_is_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = two_scenes(tmp_path / "in.czi"), tmp_path / "c.json"
    assert main(["init", str(path), "-o", str(config)]) == 2
    said = capsys.readouterr().err
    assert "0 (T 1 C 1 Z 1 Y 40 X 40), 1 (T 1 C 1 Z 1 Y 50 X 60)" in said
    assert "--scene" in said
    assert not config.exists()
    assert main(["init", str(path), "-o", str(config), "--scene", "1"]) == 0
    values = written(config)
    assert values["input"]["scene"] == 1
    assert values["output"]["path"] == "in_scene1_denoised.zarr"
    assert "y 50, x 60" in config.read_text("utf-8")


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_nothing_is_overwritten(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "in.czi", (1, 1, 1, 64, 64))
    config = tmp_path / "c.json"
    if what == "file":
        config.write_text("mine")
    elif what == "folder":
        config.mkdir()
    else:
        config.symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    assert main(["init", str(tmp_path / "in.czi"), "-o", str(config)]) == 2
    assert "is there already. Expected a new name" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    assert what != "file" or config.read_text() == "mine"


def test_a_place_that_can_t_be_written_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "in.czi", (1, 1, 1, 64, 64))
    with pytest.raises(InputError, match="can't be written"):
        init(tmp_path / "in.czi", tmp_path / "nowhere" / "c.json")


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.czi").write_bytes(b"no CZI" * 100)
    with pytest.raises(InputError, match="is no CZI"):
        init(tmp_path / "in.czi", tmp_path / "c.json")
    assert [path.name for path in tmp_path.iterdir()] == ["in.czi"]
