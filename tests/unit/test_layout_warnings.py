"""Layouts that viewers choke on are said, with their number and what to change.

Sizes are worked out by hand; what is as large as the limit is still silent.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy.denoisers.ndsafir import NdsafirDenoiser
from denoise_daisy.resolved import resolve
from denoise_daisy.runs.layout_warnings import layout_warnings
from harness import config_for, load
from harness.images import MemoryImage


def warned(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    output: dict[str, Any] | None = None,
    scale: tuple[float | None, ...] = (1.0, 1.0, 1.0),
    **sections: Any,
) -> list[str]:
    """What is said of a run of zeros, of which there is one in memory."""
    image = MemoryImage(np.broadcast_to(np.uint16(0), shape))
    image.scale_um = scale
    monkeypatch.setattr(resolve, "open_image", lambda _: image)
    monkeypatch.setattr(NdsafirDenoiser, "seconds_per_step", lambda *_: 1e-12)
    tasks = sections.pop("tasks", [])
    sections = {"blocks": {"memory_gib": 64}, "output": output or {}} | sections
    config = config_for(
        Path("/a.czi"), Path("/o.zarr"), noise_channels=shape[1], **sections
    )
    run = resolve.resolve(load(config | {"tasks": tasks}), None, "new")
    return list(layout_warnings(run))


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((1, 1, 1, 40, 40), (1.0, 1.0, 1.0)),
        ((500, 3, 1, 64, 64), (None, None, None)),
        ((1, 2, 41, 512, 512), (1.0, 0.1, 0.1)),
        ((1, 1, 2000, 200, 200), (1.0, 1.0, 1.0)),
        ((1, 1, 3, 9000, 9000), (5.0, 0.05, 0.05)),
        ((17, 1, 1501, 2048, 1936), (0.145, 0.145, 0.145)),
    ],
)
def test_nothing_is_said_of_what_is_chosen(
    shape: tuple[int, ...],
    scale: tuple[float | None, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert warned(monkeypatch, shape, scale=scale) == []


@pytest.mark.parametrize(("z", "words"), [(32, ""), (40, "has 20 MiB")])
def test_large_chunks_are_said(
    z: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """512 x 512 voxels of uint16 are half a MiB."""
    output = {"chunks": {"z": z, "y": 512, "x": 512}}
    said = warned(monkeypatch, (1, 1, 64, 512, 512), output, (10.0, 1.0, 1.0))
    assert len(said) == bool(words)
    for warning in said:
        assert words in warning
        assert f"1 x 1 x {z} x 512 x 512" in warning
        assert "output.chunks" in warning


@pytest.mark.parametrize(
    ("t", "edge", "words"),
    [(100, 100, ""), (101, 100, "19.5 KiB"), (101, 128, "")],
)
def test_many_small_chunks_are_said(
    t: int, edge: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred a plane, and a hundred planes or one more; 128 x 128 are 32 KiB."""
    output = {"chunks": {"y": edge, "x": edge}}
    shape = (t, 1, 1, 10 * edge, 10 * edge)
    said = warned(monkeypatch, shape, output)
    assert len(said) == bool(words)
    for warning in said:
        assert words in warning
        assert "10100 of them" in warning


@pytest.mark.parametrize(
    ("chunks", "scale", "words"),
    [
        ({"z": 4, "y": 256, "x": 256}, (1.0, 0.15, 0.15), ""),
        ({"z": 4, "y": 256, "x": 256}, (1.0, 0.16, 0.16), "10 times as long"),
        ({"z": 1, "y": 512, "x": 512}, (1.0, 0.1, 0.1), "51 times as long"),
        ({"z": 1, "y": 512, "x": 512}, (1.0, None, 0.1), ""),
        ({"z": 64, "y": 64, "x": 64}, (50.0, 1.0, 1.0), "50 times as long"),
        # Half of what is there along z, all of it along y and x.
        ({"z": 32, "y": 512, "x": 512}, (40.0, 1.0, 1.0), ""),
    ],
)
def test_plates_that_were_named_are_said(
    chunks: dict[str, int],
    scale: tuple[float | None, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = warned(monkeypatch, (1, 1, 64, 512, 512), {"chunks": chunks}, scale)
    assert len(said) == bool(words)
    for warning in said:
        assert words in warning
        assert "output.chunks.z and output.chunks.y and output.chunks.x" in warning


@pytest.mark.parametrize(
    ("t", "shards", "words"),
    [
        (999_900, None, ""),
        (1_000_100, None, 'output.shards to "auto"'),
        (1_000_100, "auto", "output.chunks larger"),
    ],
)
def test_a_million_files_are_said(
    t: int, shards: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plane each, which has no coarser level."""
    output = {"shards": shards}
    said = warned(monkeypatch, (t, 1, 1, 16, 16), output)
    assert len(said) == bool(words)
    for warning in said:
        assert words in warning
        assert f"writes {t} files" in warning


def test_a_coarsest_level_of_over_two_gib_is_said_unless_a_task_makes_levels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planes of 128 KiB, which are small enough for viewers; 16384 are 2 GiB."""
    assert warned(monkeypatch, (1, 1, 16384, 256, 256)) == []
    assert warned(monkeypatch, (9, 1, 16384, 256, 256)) == []
    (said,) = warned(monkeypatch, (1, 1, 20000, 256, 256))
    assert "20000 x 256 x 256" in said
    assert "2.44 GiB per time point" in said
    assert "levels 1 or more" in said
    task = {"kind": "pyramid", "name": "levels", "input": "denoised", "levels": 0}
    assert warned(monkeypatch, (1, 1, 20000, 256, 256), tasks=[task]) == []
