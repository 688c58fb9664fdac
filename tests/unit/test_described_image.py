"""What a run has found out about its image is kept, and found out once."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy import run
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.images import czi_directory
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.formats import describe, described_image
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, load, small_czi
from harness.czi_files import ALL, CELLS, noise, set_xml, write_tiles


def kept(image: Any) -> Any:
    """What was described, as it comes back from a file."""
    return described_image(json.loads(json.dumps(describe(image))))


def pickled(image: Any) -> Any:
    return pickle.loads(pickle.dumps(image))  # noqa: S301 - our own


@pytest.mark.parametrize("read_before", [False, True])
def test_an_image_is_made_again_from_its_description(
    read_before: bool, tmp_path: Path
) -> None:
    image = noise((2, 2, 3, 9, 11))
    path = write_czi(
        tmp_path / "a.czi",
        image,
        start=(5, 1, 3),
        location=(-100, 70),
        names=["a", "ü"],
        scenes=True,
    )
    opened = open_czi(str(path), None, (1,))
    if read_before:
        assert opened[ALL].any()
    again = kept(opened)
    assert again == opened
    np.testing.assert_array_equal(again[ALL], image[:, 1:])


@pytest.mark.parametrize("how", [kept, pickled])
def test_what_a_file_holds_is_kept_with_its_image(how: Any, tmp_path: Path) -> None:
    """Its first plane is at T 5, C 1, Z 3, its first pixel at (-7, 20)."""
    pixels = np.ones((8, 8), np.uint16)
    path = write_tiles(
        tmp_path / "a.czi",
        [
            ("T5 C1 Z3", pixels, (-7, 20)),
            ("T5 C2 Z3", pixels, (-7, 20)),
            ("T5 C2 Z3", pixels, (3, 21)),
            ("T6 C1 Z3", pixels, (-7, 20)),
        ],
    )
    there = np.zeros((2, 2, 1, 9, 18), bool)
    there[0, :, :, :8, :8] = there[0, 0, :, 1:, 10:] = there[1, 1, :, :8, :8] = True
    opened = open_czi(str(path), None, (1, 0))
    again = how(opened)
    assert again == opened
    np.testing.assert_array_equal(again.valid(ALL), there)
    np.testing.assert_array_equal(again[ALL] > 0, there)
    part = (slice(-1, None), slice(1, 2), slice(None), slice(2, 8), slice(1, 9))
    np.testing.assert_array_equal(again.valid(part), there[part])
    whole = (slice(0, 1), slice(None), slice(None), slice(0, 8), slice(0, 8))
    assert again.valid(whole) is None


def test_an_image_described_before_gaps_were_has_none(tmp_path: Path) -> None:
    opened = open_czi(str(write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)))))
    description = describe(opened)
    assert description.pop("tilings") is None
    again = described_image(description)
    assert again == opened
    assert again.valid(ALL) is None


def test_a_real_image_is_made_again_with_channels_and_display(real_czi: Any) -> None:
    opened = open_czi(str(real_czi(CELLS)))
    again = kept(opened)
    assert again == opened
    assert any(channel.display_range for channel in opened.channels)
    assert again.channels == opened.channels


def test_warnings_and_what_is_not_recorded_are_kept(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", noise((1, 1, 1, 8, 8)), time_step_s=None)
    set_xml(path, lambda _: "<ImageDocument><ZAxisShear>a</ZAxisShear></ImageDocument>")
    opened = open_czi(str(path))
    again = kept(opened)
    assert again == opened
    assert len(again.warnings) == 1
    assert again.scale_um == (None, None, None)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run without a block done, whose directory can't be parsed any more."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    config = config_for(source, tmp_path / "out.zarr")
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    run(load(config), say=lambda _: None)
    monkeypatch.setattr(czi_directory, "parse", parsed_again)
    return RunDir.of_output(tmp_path / "out.zarr")


class ParsedAgain(Exception):
    pass


def parsed_again(*_: object) -> None:
    raise ParsedAgain


def test_a_run_is_restored_and_its_input_checked_without_parsing(
    begun: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RunRecord.of(begun)
    restored = restore(record, begun)
    check_input(restored, record)
    assert restored.image.shape == (1, 1, 2, 16, 16)
    assert restored.denoising.parameters == record.stages["denoise"].parameters
    with pytest.raises(ParsedAgain):
        open_czi(str(tmp_path / "in.czi"))
    monkeypatch.undo()  # the first block needs to know where it lies
    assert restored.image[ALL].any()


def test_a_run_is_restored_without_its_input(begun: RunDir, tmp_path: Path) -> None:
    """That it is away is found by who looks for it."""
    (tmp_path / "in.czi").unlink()
    record = RunRecord.of(begun)
    restored = restore(record, begun)
    assert restored.image.shape == (1, 1, 2, 16, 16)
    with pytest.raises(InputError, match="No such file"):
        check_input(restored, record)


def later(path: Path) -> None:
    stamp = path.stat().st_mtime_ns
    os.utime(path, ns=(stamp, stamp + 1))


def longer(path: Path) -> None:
    stamp = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(stamp, stamp))


@pytest.mark.parametrize(
    ("change", "what"), [(later, "mtime_ns"), (longer, "size")], ids=["later", "longer"]
)
def test_a_description_is_not_believed_of_a_file_that_has_changed(
    change: Any, what: str, begun: RunDir, tmp_path: Path
) -> None:
    change(tmp_path / "in.czi")
    record = RunRecord.of(begun)
    restored = restore(record, begun)
    with pytest.raises(RefusedError, match=rf"has changed since .*\({what} differ\)"):
        check_input(restored, record)


def test_a_record_without_a_description_goes_on(
    begun: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its image is opened, as in the days before there was one."""
    values = json.loads(begun.run_file.read_text())
    described = values.pop("image")
    begun.run_file.write_text(json.dumps(values))
    record = RunRecord.of(begun)
    with pytest.raises(ParsedAgain):
        restore(record, begun)
    monkeypatch.undo()
    restored = restore(record, begun)
    check_input(restored, record)
    assert json.loads(json.dumps(describe(restored.image))) == described


def test_a_damaged_description_is_refused(begun: RunDir) -> None:
    values = json.loads(begun.run_file.read_text())
    values["image"]["space_time"] = "large"
    begun.run_file.write_text(json.dumps(values))
    record = RunRecord.of(begun)
    with pytest.raises(RefusedError, match=r"run\.json' can't be used: image\.space"):
        restore(record, begun)
