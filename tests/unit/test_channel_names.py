"""Channels by name mean what their numbers mean, and are recorded as these.

A name that is no channel's, or that several have, is refused with all there are; never
is another channel taken for it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.denoisers.ndsafir import NdsafirDenoiser
from denoise_daisy.errors import InputError
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.images.czi import open_czi
from denoise_daisy.run_dir.record import RunRecord
from harness import config_for, load, small_image
from harness.czi_files import ALL, set_xml
from harness.prepared import resolved

IMAGE = small_image((1, 3, 4, 32, 32))


def named(path: Path, *names: str) -> Path:
    """A CZI of three channels with these names."""
    write_czi(path, IMAGE)
    channels = "".join(f'<Channel Name="{name}"/>' for name in names)
    xml = f"<Information><Image><Dimensions><Channels>{channels}</Channels>"
    xml += "</Dimensions></Image></Information>"
    set_xml(
        path, lambda _: f"<ImageDocument><Metadata>{xml}</Metadata></ImageDocument>"
    )
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return named(tmp_path_factory.mktemp("named") / "in.czi", "DAPI", "GFP", "mCherry")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return named(tmp_path_factory.mktemp("twins") / "in.czi", "GFP", "DAPI", "GFP")


def run_of(path: Path, **sections: Any) -> Any:
    config = config_for(path, path.with_name("out.zarr"), noise_channels=3)
    for name, values in sections.items():
        config[name] = values if name == "tasks" else config[name] | values
    return resolved(load(config))


def noise_of(run: Any) -> Any:
    assert isinstance(run.denoiser, NdsafirDenoiser)
    return run.denoiser.noise


@pytest.mark.parametrize("asked", [["mCherry", "DAPI"], [2, "DAPI"], [2, 0]])
def test_an_image_has_the_channels_that_are_named(asked: list[Any], path: Path) -> None:
    image = open_czi(str(path), None, asked)
    assert image.selected == (2, 0)
    assert [channel.name for channel in image.channels] == ["mCherry", "DAPI"]
    np.testing.assert_array_equal(image[ALL], IMAGE[:, [2, 0]])


def test_a_run_is_the_same_by_name_and_by_number(path: Path) -> None:
    two = {"gains": [2.0, 3.0], "offsets": [4.0, 5.0]}
    runs = [
        run_of(path, input={"channels": channels}, noise=two)
        for channels in (["GFP", "DAPI"], [1, 0])
    ]
    first, second = (run.record(1) for run in runs)
    assert first.stages["denoise"].parameters["input.channels"] == [1, 0]
    assert first.stages == second.stages
    assert first.config == second.config
    restored = RunRecord.model_validate_json(first.model_dump_json())
    assert restored.config["input"]["channels"] == [1, 0]


def test_numbers_of_the_noise_may_have_the_channels_names(path: Path) -> None:
    by_name = run_of(
        path,
        input={"channels": ["mCherry", "DAPI"]},
        noise={"gains": {"DAPI": 2, "mCherry": 3}, "offsets": [4, 5]},
    )
    in_order = run_of(
        path,
        input={"channels": [2, 0]},
        noise={"gains": [3, 2], "offsets": {"mCherry": 4, "DAPI": 5}},
    )
    for run in (by_name, in_order):
        assert noise_of(run).gains == (3.0, 2.0)
        assert noise_of(run).offsets == (4.0, 5.0)
    assert by_name.record(1).stages == in_order.record(1).stages
    assert by_name.record(1).config == in_order.record(1).config


@pytest.mark.parametrize("channel", ["GFP", 1])
def test_a_task_is_the_same_by_name_and_by_number(channel: Any, path: Path) -> None:
    tasks = [
        {"kind": "threshold", "name": "above", "value": 5.0, "channel": channel},
        {"kind": "threshold", "name": "found", "method": "otsu", "channel": channel},
    ]
    run = run_of(path, tasks=tasks)
    stages = {stage.name: stage for stage in run.stages}
    for name in ("above", "found.value", "found"):
        assert stages[name].parameters["channel"] == 1
    assert [c.name for c in stages["above"].array.channels] == ["GFP"]


def test_a_task_that_names_no_channel_does_all(path: Path) -> None:
    run = run_of(path, tasks=[{"kind": "threshold", "name": "above", "value": 5.0}])
    [stage] = [stage for stage in run.stages if stage.name == "above"]
    assert stage.parameters["channel"] is None
    assert len(stage.array.channels) == 3


ALL_THREE = "0 'DAPI', 1 'GFP', 2 'mCherry'"

REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown name": (
        {"input": {"channels": ["qq"]}},
        ("input.channels names the channel 'qq', but", ALL_THREE),
    ),
    "a name in another case": (
        {"input": {"channels": ["gfp"]}},
        ("'gfp' (did you mean 'GFP'?)", ALL_THREE),
    ),
    "a name and its number": (
        {"input": {"channels": ["GFP", 1]}},
        ("['GFP', 1]", "3 channels", "each once"),
    ),
    "a number too large": ({"input": {"channels": [3]}}, ("[3]", "[0, 1, 2]")),
    "a gain of no channel": (
        {"noise": {"gains": {"DAPY": 1, "GFP": 1, "mCherry": 1}}},
        ("noise.gains names the channel 'DAPY' (did you mean 'DAPI'?)", ALL_THREE),
    ),
    "a gain too few": (
        {"noise": {"gains": {"DAPI": 1, "mCherry": 1}}},
        ("noise.gains has no number for the channel 'GFP'", ALL_THREE),
    ),
    "an offset of a channel that is left out": (
        {
            "input": {"channels": ["DAPI"]},
            "noise": {"gains": {"DAPI": 1}, "offsets": {"DAPI": 1, "GFP": 1}},
        },
        ("noise.offsets names the channel 'GFP', but", "has 0 'DAPI'"),
    ),
    "a task's channel": (
        {"tasks": [{"kind": "threshold", "name": "m", "value": 5, "channel": "GPF"}]},
        ("channel of task 'm' names", "'GPF' (did you mean 'GFP'?)", "'denoised' has"),
    ),
    "a task's channel too many": (
        {"tasks": [{"kind": "threshold", "name": "m", "value": 5, "channel": 3}]},
        ("channel of task 'm' is [3], but 'denoised' has 3 channels", ALL_THREE),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_channel_is_refused_with_those_there_are(
    name: str, path: Path
) -> None:
    sections, words = REFUSED[name]
    with pytest.raises(InputError) as caught:
        run_of(path, **sections)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "sections",
    [
        {"input": {"channels": ["GFP"]}},
        {"noise": {"gains": {"GFP": 1, "DAPI": 2}}},
        {"tasks": [{"kind": "threshold", "name": "m", "value": 5, "channel": "GFP"}]},
    ],
    ids=str,
)
def test_a_name_that_two_channels_have_is_refused(
    sections: dict[str, Any], twins: Path
) -> None:
    with pytest.raises(InputError) as caught:
        run_of(twins, **sections)
    assert "has 2 of that name: 0 'GFP', 1 'DAPI', 2 'GFP'" in str(caught.value)
    assert "Expected their numbers" in str(caught.value)


def test_the_other_names_of_such_a_file_are_fine(twins: Path) -> None:
    assert open_czi(str(twins), None, ["DAPI", 2]).selected == (1, 2)


def test_of_many_channels_the_first_are_listed() -> None:
    names = [f"c{i}" for i in range(25)]
    with pytest.raises(InputError) as caught:
        channel_numbers(["x"], names, "input.channels", "'a'")
    assert "19 'c19' and 5 more" in str(caught.value)
    assert "'c20'" not in str(caught.value)
