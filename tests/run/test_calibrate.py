"""`calibrate` says what the noise is, draws it, and puts it into a config if asked."""

import json
import re
from pathlib import Path
from typing import Any

import ndsafir
import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy import Config
from denoise_daisy.denoisers.calibration import sample_image
from denoise_daisy.images.czi import open_czi
from harness import cli, config_for, here, small_czi, write_config

SHAPE = (3, 2, 4, 80, 90)
"""Of an image whose gain is 3.92 and offset -367."""

POISSON = {"kind": "poisson-gaussian"}


def config_file(folder: Path, noise: dict[str, Any], **sections: Any) -> Path:
    """A config as a person writes it: on lines, with spaces of its own."""
    source = folder / "in.czi"
    if not source.exists():
        small_czi(source, SHAPE)
    config = config_for(source, folder / "out.zarr", noise=noise, **sections)
    path = folder / "config.json"
    path.write_text(json.dumps(config, indent=3).replace('"y": 1', '"y":  1') + "\n\n")
    return path


def numbers(said: str) -> dict[str, Any]:
    (section,) = re.findall(r'\nFor the config: "noise": (.*)\n', said)
    return json.loads(section)


def test_numbers_are_said_and_drawn_and_nothing_else_is_written(
    tmp_path: Path,
) -> None:
    path = config_file(tmp_path, POISSON)
    before = path.read_bytes()
    done = cli("calibrate", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 x 2 x 4 x 80 x 90 (t c z y x) uint16" in done.stdout
    assert "172800 voxels in 24 windows of 12 planes" in done.stdout
    found = numbers(done.stdout)
    assert found["kind"] == "poisson-gaussian"
    assert found["gains"] == [pytest.approx(3.92, rel=0.15)] * 2
    assert len(found["offsets"]) == 2
    assert done.stdout.count("\n  verdict    white: ") == 2
    assert done.stdout.count("\n  over T     steady") == 2
    sample = sample_image(open_czi(str(tmp_path / "in.czi")))
    gains, _ = ndsafir.calibrate_poisson_gaussian(sample, "CZYX")
    for gain in gains:
        assert f"\n  ndsafir's  gain {gain:.4g}, offset " in done.stdout
    plots = tmp_path / "config.noise.html"
    assert done.stdout.endswith(f"Plots: {plots}\n")
    assert plots.read_text().count("data:image/svg+xml") == 4
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"in.czi", path.name, plots.name}


def test_what_is_written_into_a_config_is_what_a_run_would_calibrate(
    tmp_path: Path,
) -> None:
    path = config_file(tmp_path, POISSON)
    path.chmod(0o640)
    text = path.read_text()
    (calibrated,) = re.findall(
        r"\nnoise    (.*) \(calibrated now\)\n", here("plan", path).stdout
    )
    done = here("calibrate", path, "--write")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"Written into {path}.\n")
    written = path.read_text()
    kept = re.sub(r',\n *"(gains|offsets)": \[.*\]', "", written)
    assert kept == text
    noise = Config.load(path).noise.model_dump(mode="json")
    assert (noise.pop("method"), noise.pop("shared")) == ("robust", False)
    assert noise == numbers(done.stdout)
    assert path.stat().st_mode & 0o777 == 0o640
    assert f"\nnoise    {calibrated}\n" in here("plan", path).stdout
    again = here("calibrate", path, "--write")
    assert f"\nIn the config now: {calibrated}.\n" in again.stdout
    assert path.read_text() == written


def test_numbers_of_before_are_replaced_through_a_link(tmp_path: Path) -> None:
    given = POISSON | {"gains": [1.0, 1.0], "offsets": [0.0, 0.0]}
    path = config_file(tmp_path, given)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    done = here("calibrate", link, "--write")
    assert (
        "In the config now: poisson-gaussian, gains 1, 1, offsets 0, 0." in done.stdout
    )
    assert link.is_symlink()
    gains = json.loads(path.read_text())["noise"]["gains"]
    assert gains == numbers(done.stdout)["gains"]


def test_gaussian_noise_is_one_number(tmp_path: Path) -> None:
    path = config_file(tmp_path, {"kind": "gaussian"})
    done = here("calibrate", path, "--write")
    noise = json.loads(path.read_text())["noise"]
    assert noise == numbers(done.stdout)
    assert noise.keys() == {"kind", "noise_std"}
    assert "at all levels, of all channels" in done.stdout


def test_ndsafir_calibrates_where_it_is_asked_to(tmp_path: Path) -> None:
    path = config_file(tmp_path, POISSON | {"method": "ndsafir"})
    done = here("calibrate", path, "--write")
    sample = sample_image(open_czi(str(tmp_path / "in.czi")))
    gains, offsets = ndsafir.calibrate_poisson_gaussian(sample, "CZYX")
    noise = json.loads(path.read_text())["noise"]
    assert noise["method"] == "ndsafir"
    assert (noise["gains"], noise["offsets"]) == (list(gains), list(offsets))
    assert done.returncode == 0


def test_an_image_needs_no_config(tmp_path: Path) -> None:
    source = small_czi(tmp_path / "in.czi", SHAPE)
    done = here("calibrate", source)
    assert numbers(done.stdout)["gains"] == [pytest.approx(3.92, rel=0.15)] * 2
    assert done.stdout.endswith(f"Plots: {tmp_path / 'in.noise.html'}\n")
    refused = here("calibrate", source, "--write")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is an image" in refused.stderr
    assert "denoise-daisy init" in refused.stderr


def test_an_image_that_tells_nothing_is_said_and_not_written(tmp_path: Path) -> None:
    voxels = np.full((1, 1, 2, 40, 40), 7, np.uint16)
    write_czi(tmp_path / "in.czi", voxels)
    path = config_file(tmp_path, POISSON)
    before = path.read_bytes()
    done = here("calibrate", path)
    assert done.returncode == 0
    assert "can't be calibrated: all voxels are of one value" in done.stdout
    assert "For the config" not in done.stdout
    refused = here("calibrate", path, "--write")
    assert refused.returncode == 2
    assert "can't be calibrated: all voxels are of one value" in refused.stderr
    assert path.read_bytes() == before


def test_a_config_that_has_no_use_for_the_numbers_is_left_alone(
    tmp_path: Path,
) -> None:
    """With the lines to put in by hand."""
    path = config_file(tmp_path, POISSON)
    config = json.loads(path.read_text())
    config["denoise"] = {"kind": "median", "size": {"y": 3, "x": 3}}
    del config["noise"]
    write_config(path, config)
    before = path.read_bytes()
    refused = here("calibrate", path, "--write")
    assert refused.returncode == 2
    assert (
        "can't be edited safely, and is as it was. Put this into it:" in refused.stderr
    )
    assert '"noise": {"kind": "poisson-gaussian", "gains": [' in refused.stderr
    assert path.read_bytes() == before


def test_plots_that_can_not_be_written_are_said(tmp_path: Path) -> None:
    path = config_file(tmp_path, POISSON)
    (tmp_path / "config.noise.html").mkdir()
    done = here("calibrate", path, "--write")
    assert done.returncode == 2
    assert "The plots can't be written to" in done.stderr
    assert numbers(done.stdout)
    assert json.loads(path.read_text())["noise"] == POISSON


def test_a_config_with_comments_keeps_them(tmp_path: Path) -> None:
    """And may name no kind of noise."""
    path = config_file(tmp_path, {})
    text = path.read_text()
    first = "{\n   // All of the embryo.\n"
    path.write_text(text.replace("{\n", first, 1))
    done = here("calibrate", path, "--write")
    assert done.returncode == 0, done.stderr
    assert path.read_text().startswith(first)
    noise = Config.load(path).noise.model_dump(mode="json")
    unchanged = {"method": "robust", "shared": False}
    assert noise == numbers(done.stdout) | unchanged


def test_ndsafir_is_not_asked_of_planes_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config_file(tmp_path, POISSON)
    for pixels, is_asked in ((80 * 90, True), (80 * 90 - 1, False)):
        monkeypatch.setattr("denoise_daisy.runs.calibrate.MOST_PIXELS", pixels)
        said = here("calibrate", path).stdout
        assert ("ndsafir's  gain" in said) is is_asked
        assert ("ndsafir's  not asked" in said) is not is_asked
