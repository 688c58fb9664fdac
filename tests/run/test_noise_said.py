"""What `plan`, `run` and `status` say of the noise is what ndsafir does."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import cli, config_for, here, small_czi, small_image, write_config


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def stated_shares(said: str) -> list[float]:
    """The per cents below the floor, in the order of channels."""
    found = re.findall(r"Channel [^:]*: ([\d.]+)% of the sampled voxels", said)
    return [float(number) for number in found]


def test_plan_run_and_status_say_the_numbers_and_what_they_clip(
    tmp_path: Path,
) -> None:
    """Given numbers that clip; then some that do not."""
    shape = (1, 1, 4, 65, 65)
    image = small_image(shape)
    source = small_czi(tmp_path / "in.czi", shape)
    floor = np.quantile(image, 0.3)
    offset = -float(round((floor + 3 / 8 * 3.92) * 3.92))
    noise = {"kind": "poisson-gaussian", "gains": [3.92], "offsets": [offset]}
    config = config_for(source, tmp_path / "out.zarr", noise=noise)
    path = write_config(tmp_path / "config.json", config)
    words = f"poisson-gaussian, gains 3.92, offsets {offset:.0f}"
    expected = [round(100 * np.mean(image < -offset / 3.92 - 3 / 8 * 3.92), 1)]
    assert expected[0] == pytest.approx(30, abs=2)
    before = listing(tmp_path)
    planned = here("plan", path)
    assert f"\nnoise    {words}\n" in planned.stdout
    assert stated_shares(planned.stdout) == expected
    assert "\nWarning: Channel" in planned.stdout
    assert listing(tmp_path) == before
    done = cli(path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Noise: {words}.\n")
    assert "Calibrating" not in done.stdout
    assert stated_shares(done.stderr) == expected
    assert "WARNING: Channel" in done.stderr
    assert "in no patch" not in done.stderr
    assert f"\nnoise: {words}\n" in here("status", path).stdout
    again = cli(path)
    assert again.returncode == 0
    assert "Noise:" not in again.stdout
    assert again.stderr == ""
    assert f"\nnoise    {words}\n" in here("plan", path).stdout
    good = config_for(source, tmp_path / "good.zarr")
    fine = cli(write_config(tmp_path / "good.json", good))
    assert fine.returncode == 0, fine.stderr
    assert "Noise: poisson-gaussian, gains 3.92, offsets -367.\n" in fine.stdout
    # Neither this program nor the libraries that it uses.
    assert "warning" not in fine.stderr.lower()


def test_calibrated_numbers_are_planned_said_and_recorded(tmp_path: Path) -> None:
    """Two channels: the plan's numbers are the run's, and a resumed run says them."""
    config = config_for(
        small_czi(tmp_path / "in.czi", (1, 2, 8, 65, 65)),
        tmp_path / "out.zarr",
        noise={"kind": "poisson-gaussian"},
    )
    path = write_config(tmp_path / "config.json", config)
    planned = here("plan", path)
    (words,) = re.findall(r"\nnoise    (.*) \(calibrated now\)\n", planned.stdout)
    done = here("run", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Calibrating the noise...\nNoise: {words}.\n")
    run_file = tmp_path / "out.zarr.run" / "run.json"
    recorded = json.loads(run_file.read_text())["stages"]["denoise"]["probed"]
    gains, offsets = words.removeprefix("poisson-gaussian, gains ").split(", offsets ")
    for name, numbers in (("gains", gains), ("offsets", offsets)):
        said = [float(number) for number in numbers.split(", ")]
        assert len(said) == 2
        assert said == [pytest.approx(n, rel=1e-3) for n in recorded[name]]
    assert f"\nnoise: {words}\n" in here("status", path).stdout
    for file in (tmp_path / "out.zarr.run/ledger/denoise").glob("*.jsonl"):
        file.unlink()
    assert f"\nnoise    {words}\n" in here("plan", path).stdout
    resumed = here("run", path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.startswith(f"Noise: {words}.\n")


def test_gaussian_noise_and_filters(tmp_path: Path) -> None:
    """A standard deviation is said; a filter has no noise to speak of."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 33, 33))
    gaussian = config_for(
        source,
        tmp_path / "gaussian.zarr",
        noise={"kind": "gaussian", "noise_std": 30.0},
    )
    path = write_config(tmp_path / "gaussian.json", gaussian)
    done = cli(path)
    assert done.stdout.startswith("Noise: gaussian, noise_std 30.\n")
    assert "WARNING" not in done.stderr
    assert "\nnoise: gaussian, noise_std 30\n" in here("status", path).stdout
    median = gaussian | {
        "denoise": {"kind": "median", "size": {"y": 3, "x": 3}},
        "output": {"path": str(tmp_path / "median.zarr")},
    }
    del median["noise"]
    path = write_config(tmp_path / "median.json", median)
    done = here("run", path)
    assert done.returncode == 0, done.stderr
    assert "Noise:" not in done.stdout
    assert "\nnoise:" not in here("status", path).stdout
    assert "noise    of no use to a median filter" in here("plan", path).stdout


def test_layers_in_no_patch_are_said_by_plan_and_run(tmp_path: Path) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 32, 33))
    config = config_for(source, tmp_path / "out.zarr")
    path = write_config(tmp_path / "config.json", config)
    done = cli(path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("in no patch") == 1
    assert "WARNING: Along y, layer 31 of 0 to 31 lies in no patch" in done.stderr
    planned = here("plan", path).stdout
    assert "\nWarning: Along y, layer 31 of" in planned
    assert re.search("^context .*; exact$", planned, re.M)
    part = config_for(source, tmp_path / "part.zarr", input={"roi": {"y": [0, 31]}})
    path = write_config(tmp_path / "part.json", part)
    assert "in no patch" not in here("plan", path).stdout
    every = config_for(source, tmp_path / "every.zarr", denoise={"cover": "all"})
    planned = here("plan", write_config(tmp_path / "every.json", every)).stdout
    assert "in no patch" not in planned
    assert re.search("^context .*; layers mirrored at the far end: y 1$", planned, re.M)


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("CellDivision_T3_Z5_CH2_X240_Y170.czi", [65, 3]),
        ("LLS7_small.czi", [21, 37]),
    ],
)
def test_real_images_get_their_warning(
    name: str, measured: list[float], tmp_path: Path, real_czi: Callable[[str], Path]
) -> None:
    """Where ndsafir calibrated: per cents of all voxels.  Otherwise nothing clips."""

    def planned_shares(method: str) -> list[float]:
        noise = {"kind": "poisson-gaussian", "method": method}
        config = config_for(
            real_czi(name), tmp_path / "out.zarr", noise=noise, denoise={}
        )
        planned = here("plan", write_config(tmp_path / "config.json", config))
        assert planned.returncode == 0, planned.stderr
        return stated_shares(planned.stdout)

    shares = planned_shares("ndsafir")
    assert len(shares) == 2
    for share, whole in zip(shares, measured, strict=True):
        assert math.isclose(share, whole, rel_tol=0.15)
    assert planned_shares("robust") == []
