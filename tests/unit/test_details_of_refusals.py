"""A segment with room to spare at the end of a file; blocks of several channels."""

import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from unit.test_czi_tiles import ALL, noise, segments

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi import open_czi
from denoise_daisy.runs import preflight
from denoise_daisy.runs.preflight import Preflight, _check_disk
from harness import config_for, load, small_czi
from harness.prepared import resolved


def test_what_a_segment_has_allocated_and_not_used_need_not_be_there(
    tmp_path: Path,
) -> None:
    image, path = noise((1, 1, 2, 8, 8)), tmp_path / "a.czi"
    write_czi(path, image)
    data = bytearray(path.read_bytes())
    for name, at in segments(data):
        if name in ("ZISRAWDIRECTORY", "ZISRAWMETADATA", "ZISRAWSUBBLOCK"):
            allocated, used = struct.unpack_from("<qq", data, at + 16)
            assert 0 < used <= allocated
            struct.pack_into("<q", data, at + 16, len(data))
    path.write_bytes(data)
    np.testing.assert_array_equal(open_czi(str(path))[ALL], image)


@pytest.fixture
def check_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes how many bytes are free, and which of four blocks of 4 KiB are done.

    Each has a file of its own, and only one more file can be made.
    """
    source = small_czi(tmp_path / "in.czi", (1, 1, 4, 64, 32))
    cut = {"output": {"chunks": {"y": 16}}, "blocks": {"shape": {"y": 16}}}
    run = resolved(load(config_for(source, tmp_path / "out.zarr", **cut)))
    assert [stage.grid.size for stage in run.stages] == [4]

    def check(
        free: int,
        *done: bool,
        asked: tuple[str, ...] = ("denoise",),
        free_files: int | None = 1,
    ) -> None:
        monkeypatch.setattr(preflight, "free_disk", lambda _: (free, free_files))
        ledger: Any = SimpleNamespace(done=np.array(done))
        _check_disk(Preflight(run, None, {"denoise": ledger}, {}, asked, ()))

    return check


def test_a_disk_needs_room_for_what_is_not_done_yet(
    check_disk: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    check_disk(4096, True, True, True, False)
    assert caplog.text == ""
    check_disk(4095, True, True, True, False)
    assert "it fits only if it compresses well" in caplog.text
    check_disk(4096 // 8, True, True, True, False)
    with pytest.raises(InputError, match=r"in 1 file, but only .* and 1 file are"):
        check_disk(4096 // 8 - 1, True, True, True, False)
    with pytest.raises(InputError, match=r"in 2 files, but only .* and 1 file are"):
        check_disk(1 << 20, True, True, False, False)


def test_a_file_system_that_counts_no_files_is_told_of_by_its_bytes_alone(
    check_disk: Callable[..., None],
) -> None:
    """Such as /proc."""
    with pytest.raises(InputError, match=r"only 0 MiB is free at '"):
        check_disk(0, False, False, False, False, free_files=None)


def test_a_disk_needs_no_room_for_what_is_not_asked_for(
    check_disk: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    check_disk(0, False, False, False, False, asked=())
    assert caplog.text == ""
