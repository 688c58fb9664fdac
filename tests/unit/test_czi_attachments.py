"""Time stamps that ZEN attaches to a CZI, where its metadata tell no time step."""

import struct
from pathlib import Path

import czifile
import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.formats import inspect_image
from harness.czi_files import ALL, ATTACHMENTS_AT, noise, put, with_attachment

AIRYSCAN = (5657.49, 5658.01, 5658.54)
"""The stamps of a real file."""


def stamps(*seconds: float) -> bytes:
    data = struct.pack(f"<{len(seconds)}d", *seconds)
    return struct.pack("<ii", 8 + len(data), len(seconds)) + data


def stamped(path: Path, data: bytes, times: int = 3, step: float | None = None) -> Path:
    write_czi(path, noise((times, 1, 1, 8, 8)), time_step_s=step)
    return with_attachment(path, b"TimeStamps", data)


def test_attached_stamps_tell_the_mean_step(tmp_path: Path) -> None:
    path = stamped(tmp_path / "a.czi", stamps(*AIRYSCAN))
    with czifile.CziFile(path) as file:  # another reader finds them as well
        [attachment] = file.attachments()
        np.testing.assert_array_equal(attachment.data(), AIRYSCAN)
    assert open_czi(str(path)).time_step_s == 0.525
    assert inspect_image(str(path)).time_step_s == 0.525


def test_metadata_that_tell_a_step_are_believed(tmp_path: Path) -> None:
    path = stamped(tmp_path / "a.czi", stamps(*AIRYSCAN), step=30.0)
    assert open_czi(str(path)).time_step_s == 30.0


@pytest.mark.parametrize(
    "data",
    [
        stamps(1.0, 2.0),
        stamps(1.0, 2.0, 3.0, 4.0),
        stamps(3.0, 2.0, 1.0),
        stamps(1.0, 1.0, 1.0),
        stamps(0.0, 1.0, float("nan")),
        stamps(0.0, 1.0, float("inf")),
        stamps(1.0, 2.0, 3.0)[:-1],
        struct.pack("<ii", 32, 2**31 - 1) + bytes(24),
        struct.pack("<ii", 32, -3) + bytes(24),
        b"",
        b"abc",
    ],
)
def test_stamps_that_are_damaged_or_not_of_all_time_points_are_ignored(
    data: bytes, tmp_path: Path
) -> None:
    opened = open_czi(str(stamped(tmp_path / "a.czi", data)))
    assert opened.time_step_s is None
    assert opened.warnings == ()


def test_a_list_of_attachments_that_is_damaged_is_ignored(tmp_path: Path) -> None:
    path = stamped(tmp_path / "a.czi", stamps(*AIRYSCAN))
    directory = struct.unpack_from("<q", path.read_bytes(), ATTACHMENTS_AT)[0]
    for at, layout, value in (
        (directory + 32, "<i", 2**31 - 1),
        (directory + 32, "<i", 2),
        (directory + 32 + 256 + 12, "<q", 2**62),
        (directory, "<i", 0),
    ):
        before = path.read_bytes()
        assert open_czi(str(path)).time_step_s == 0.525
        put(path, at, layout, value)
        found = open_czi(str(path))
        assert found.time_step_s in (None, 0.525)
        assert found[ALL].any()
        path.write_bytes(before)
