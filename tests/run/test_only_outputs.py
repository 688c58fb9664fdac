"""Status and verify of finished runs, long after: no raw file, config or function."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from harness import here, small_image, write_config
from harness.chains import Chain
from harness.zarr_files import write_05

SHAPE = (1, 1, 2, 24, 24)


def elsewhere(run_dir: Path) -> None:
    """As if all had been copied from a machine of which nothing else is here."""
    file = run_dir / "run.json"
    record: dict[str, Any] = json.loads(file.read_text())
    record["config"]["input"]["path"] = "/no/such/place/in.czi"
    record["config"]["output"]["path"] = "/no/such/place/out.zarr"
    record["image"]["path"] = "/no/such/place/in.czi"
    file.write_text(json.dumps(record))


@pytest.fixture
def moved(finished_chain: Chain, tmp_path: Path) -> Path:
    """The outputs of a chain and its run directory, and nothing else."""
    for name in ("out.zarr", "out.soft.zarr", "out.zarr.run"):
        shutil.copytree(finished_chain.folder / name, tmp_path / name)
    shutil.copy(finished_chain.folder / "out.cells.csv", tmp_path)
    elsewhere(tmp_path / "out.zarr.run")
    return tmp_path


@pytest.mark.parametrize("name", ["out.zarr", "out.zarr.run", "out.soft.zarr"])
def test_a_chain_is_told_of_and_verified_by_what_it_wrote_alone(
    name: str, moved: Path
) -> None:
    end = here("status", moved / name)
    assert end.returncode == 0, end.stderr
    assert str(moved / "out.zarr") in end.stdout
    assert "8 of 8" in end.stdout or "8 done" in end.stdout
    end = here("verify", moved / name)
    assert end.returncode == 0, end.stderr
    assert "blocks are as they were written" in end.stdout


def test_verify_sees_damage_without_the_raw_file(moved: Path) -> None:
    (moved / "out.zarr" / "0" / "c" / "0" / "0" / "0" / "0" / "0").write_bytes(b"x")
    end = here("verify", moved / "out.zarr")
    assert end.returncode == 3
    assert "not what was written" in end.stderr


@pytest.mark.parametrize("verb", ["status", "verify"])
@pytest.mark.parametrize("name", ["out.zarr", "out.soft.zarr"])
def test_an_output_without_its_run_directory_is_refused_and_why(
    verb: str, name: str, moved: Path
) -> None:
    shutil.rmtree(moved / "out.zarr.run")
    end = here(verb, moved / name)
    assert end.returncode == 2
    assert "its run directory 'out.zarr.run' is not beside it" in end.stderr
    assert "By its own word all was done at 20" in end.stderr
    assert end.stderr.count("\n") == 1


def test_runs_of_other_formats_and_functions_need_neither_files_nor_code(
    tmp_path: Path,
) -> None:
    there, now = tmp_path / "there", tmp_path / "now"
    (there / "series").mkdir(parents=True)
    image = small_image(SHAPE)
    tifffile.imwrite(there / "a.ome.tif", image, metadata={"axes": "TCZYX"})
    write_05(there / "b.zarr", image)
    for z in range(SHAPE[2]):
        tifffile.imwrite(there / "series" / f"z{z}.tif", image[0, 0, z])
    np.save(there / "c.npy", image[0, 0])
    (there / "gone.py").write_text("def same(block, context):\n    return block\n")
    config = {
        "input": {"path": ["a.ome.tif", "b.zarr", "series/z{z}.tif", "c.npy"]},
        "output": {"path": "many"},
        "denoise": {"kind": "gaussian", "sigma": {"y": 1}},
        "workers": {"count": 2},
        "tasks": [{"kind": "function", "name": "own", "function": "gone:same"}],
    }
    path = write_config(there / "config.json", config)
    end = here(path)
    assert end.returncode == 0, end.stderr
    outputs = sorted(
        p.name for p in (there / "many").glob("*.zarr") if ".own" not in p.name
    )
    assert len(outputs) == 4
    now.mkdir()
    (there / "many").rename(now / "many")
    shutil.rmtree(there)
    for name in outputs:
        end = here("status", now / "many" / name)
        assert end.returncode == 0, end.stderr
        assert "input" in end.stdout
        end = here("verify", now / "many" / name)
        assert end.returncode == 0, end.stderr
