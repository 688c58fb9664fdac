"""Which images a config names, and where each of them is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.errors import InputError
from denoise_daisy.runs.init import init
from denoise_daisy.runs.many_images import images_of, is_many, run_dir_of_many
from harness import load
from harness.czi_files import noise, write_tiles


def config_of(folder: Path, path: Any, output: str = "out", **source: Any) -> Any:
    paths = [str(folder / p) for p in path] if isinstance(path, list) else None
    values = {
        "input": {"path": paths or str(folder / path)} | source,
        "output": {"path": str(folder / output)},
    }
    return load(values)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def named(folder: Path, config: Any) -> dict[str, str]:
    """Outputs by the names of the images, from the folder."""
    return {
        image.name: str(image.output.relative_to(folder)) for image in images_of(config)
    }


def test_a_pattern_names_what_fits_in_the_order_of_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "b10.czi", "b9.czi", "a.CZI", "c.txt", "sub/d.czi")
    (tmp_path / "e.czi").mkdir()
    config = config_of(tmp_path, "*.czi", "{name}_x.zarr")
    assert named(tmp_path, config) == {
        "b9": "b9_x.zarr",
        "b10": "b10_x.zarr",
        "e": "e_x.zarr",
    }
    below = config_of(tmp_path, "**/d.czi")
    assert named(tmp_path, below) == {"d": "out/d.zarr"}


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "a?.czi", "ab.czi", "c[1].czi", "c1.czi")
    assert not is_many(config_of(tmp_path, "a?.czi"))
    assert named(tmp_path, config_of(tmp_path, "c[*.czi")) == {"c[1]": "out/c[1].zarr"}


def test_a_series_is_one_image(tmp_path: Path) -> None:
    assert not is_many(config_of(tmp_path, "*_{t}.tif"))
    assert is_many(config_of(tmp_path, ["a_{t}.tif"]))


def test_what_fits_and_is_an_output_is_no_image(tmp_path: Path) -> None:
    """Else each start would denoise what the one before has written."""
    for name in ("a.zarr", "b.zarr", "a_new.zarr"):
        (tmp_path / name).mkdir()
    config = config_of(tmp_path, "*.zarr", "{name}_new.zarr")
    assert named(tmp_path, config) == {"a": "a_new.zarr", "b": "b_new.zarr"}


def test_a_list_is_taken_as_it_stands_and_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.czi", "a.czi")
    config = config_of(tmp_path, ["b.czi", "*.czi"])
    assert [*named(tmp_path, config)] == ["b", "a"]


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["x/a.czi", "y/a.czi"], "2 images would be written to"),
        (["no*.czi"], "nothing fits it"),
    ],
)
def test_images_that_have_no_place_of_their_own_are_refused(
    paths: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        images_of(config_of(tmp_path, paths))
    assert "Expected" in str(caught.value)
    assert "\n" not in str(caught.value)


def two_scenes(path: Path) -> None:
    pixels = np.ones((8, 8), np.uint16)
    write_tiles(path, [("T0 C0 S0", pixels, (0, 0)), ("T0 C0 S1", pixels, (50, 0))])


@pytest.mark.parametrize(
    ("output", "places"),
    [
        ("out.zarr", ["out.zarr/0", "out.zarr/1"]),
        ("{name}_{scene}.zarr", ["a_0.zarr", "a_1.zarr"]),
    ],
)
def test_scenes_are_in_one_zarr_or_where_the_config_says(
    output: str, places: list[str], tmp_path: Path
) -> None:
    two_scenes(tmp_path / "a.czi")
    config = config_of(tmp_path, "a.czi", output, scene="all")
    found = images_of(config)
    assert [str(i.output.relative_to(tmp_path)) for i in found] == places
    assert [i.config.input.one.scene for i in found] == [0, 1]
    assert {i.container for i in found} == {
        tmp_path / output if output == "out.zarr" else None
    }
    together = run_dir_of_many(config).path.name
    assert together == ("out.zarr.run" if output == "out.zarr" else "all_all.zarr.run")


def test_of_many_files_each_has_a_zarr_for_its_scenes(tmp_path: Path) -> None:
    two_scenes(tmp_path / "a.czi")
    two_scenes(tmp_path / "b.czi")
    (tmp_path / "bad.czi").write_bytes(b"no CZI")
    found = images_of(config_of(tmp_path, "*.czi", scene="all"))
    places = [str(i.output.relative_to(tmp_path / "out")) for i in found]
    assert places == ["a.zarr/0", "a.zarr/1", "b.zarr/0", "b.zarr/1", "bad.zarr"]
    assert [bool(image.problem) for image in found] == [False] * 4 + [True]


def test_each_position_of_a_dimension_can_be_an_image(tmp_path: Path) -> None:
    planes = [noise((8, 9), seed=i) for i in range(3)]
    tiles = [(f"T0 C0 H{i + 2}", plane, (0, 0)) for i, plane in enumerate(planes)]
    write_tiles(tmp_path / "a.czi", tiles)
    config = config_of(tmp_path, "a.czi", "out.zarr", select={"h": "all"})
    assert is_many(config)
    found = images_of(config)
    assert [image.name for image in found] == [f"a scene 0 h {i}" for i in (2, 3, 4)]
    assert [dict(i.config.input.one.select) for i in found] == [
        {"h": 2},
        {"h": 3},
        {"h": 4},
    ]


def test_init_takes_one_image_of_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stands for many images"):
        init(tmp_path / "*.czi", tmp_path / "config.json")
    assert not (tmp_path / "config.json").exists()


def test_a_single_image_may_be_named_in_its_output(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))
    config = config_of(tmp_path, "a.czi", "{name}_d.zarr")
    assert named(tmp_path, config) == {"a": "a_d.zarr"}
    with pytest.raises(InputError, match="names several images"):
        _ = config_of(tmp_path, "a.czi", scene="all").input.one
