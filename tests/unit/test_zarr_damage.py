"""Metadata of a Zarr that are damaged: refused, or the image can be read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy.errors import InputError
from harness.czi_files import ALL, noise
from harness.opened import opened, refused
from harness.zarr_files import write_04, write_05


def documents(path: Path) -> Iterator[Path]:
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    yield from sorted(file for name in names for file in path.rglob(name))


@pytest.mark.parametrize("write", [write_04, write_05])
def test_damaged_metadata_are_refused_or_read(write: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", noise((1, 2, 2, 8, 8)))
    rng = np.random.default_rng(0)
    count = 0
    for file in documents(path):
        whole = file.read_bytes()
        for i in range(40):
            at = int(rng.integers(len(whole)))
            harmed = bytearray(whole)
            harmed[at] = int(rng.integers(32, 127)) if i % 2 else harmed[at] ^ 1
            file.write_bytes(whole[:at] if i % 4 == 0 else harmed)
            try:
                opened(path)[(*ALL[:4], slice(0, 1))]
            except InputError:
                count += 1
        file.write_bytes(whole)
    assert count > 20


NO_METADATA: tuple[Any, ...] = (
    None, 3, "a", [], [3], {}, {"datasets": 3}, {"datasets": []}, [{"datasets": []}],
    [{"datasets": [{"path": "\0"}]}], [{"datasets": [{"path": "\ud800"}]}],
    [{"datasets": [{"path": "s0"}], "axes": ["y", "y", "x"]}],
    [{"datasets": [{"path": "s0", "coordinateTransformations": [{"scale": [1]}]}]}],
)  # fmt: skip


@pytest.mark.parametrize("value", NO_METADATA)
def test_metadata_of_other_types_are_refused(value: Any, tmp_path: Path) -> None:
    path = write_04(tmp_path / "a.zarr", noise((1, 1, 1, 8, 8)))
    file = path / ".zattrs"
    file.write_text(json.dumps({"multiscales": value}))
    refused(path)
    whole = [{"datasets": [{"path": "s0"}]}]
    file.write_text(json.dumps({"multiscales": whole, "omero": value}))
    assert opened(path).shape == (1, 1, 1, 8, 8)
