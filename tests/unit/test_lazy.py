"""`lazy`: what is looked at is computed, to the bit as on the whole image.

And as the run writes it: `tests/run/test_lazy_and_runs.py`.
"""

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from denoise_daisy import lazy
from denoise_daisy.errors import InputError
from denoise_daisy.runs import lazy_chunks, lazy_image
from harness import config_for, small_image, whole_image
from harness.czi_files import write_tiles

SHAPE = (2, 2, 5, 41, 52)


def rounded(result: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(result), 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_czi(tmp_path_factory.mktemp("lazy") / "in.czi", small_image(SHAPE))


def config_of(source: Path, **sections: Any) -> dict[str, Any]:
    channels = sections.pop("noise_channels", 2)
    target = source.parent / "out.zarr"
    return config_for(source, target, noise_channels=channels, **sections)


@pytest.fixture(scope="module")
def whole(source: Path) -> np.ndarray:
    patch = {"denoise": {"patch": {"z": 1, "y": 2, "x": 2}}}
    return rounded(whole_image(small_image(SHAPE), config_of(source, **patch)))


@given(
    chunk=st.tuples(*(st.integers(1, n + 1) for n in (1, 5, 41, 52))),
    roi=st.tuples(*(st.integers(0, n - 1) for n in (2, 5, 41, 52))),
    step=st.sampled_from([None, 1, 2, -1, -3]),
)
@settings(parent=settings.get_profile("quick"), max_examples=5)
def test_any_part_in_any_chunks_is_that_of_the_whole_image(
    chunk: tuple[int, ...],
    roi: tuple[int, ...],
    step: int | None,
    source: Path,
    whole: np.ndarray,
) -> None:
    config = config_of(
        source,
        denoise={"patch": {"z": 1, "y": 2, "x": 2}},
        input={"roi": {a: [b, None] for a, b in zip("tzyx", roi, strict=True)}},
    )
    chunks = dict(zip("tzyx", chunk, strict=True))
    array = lazy(config, chunks=chunks)
    t, z, y, x = roi
    expected = whole[t:, :, z:, y:, x:]
    assert array.shape == expected.shape
    assert array.dtype == np.uint16
    part = (0, slice(None, None, step), -1, slice(None, 7), slice(None, None, step))
    np.testing.assert_array_equal(array[part].compute(), expected[part])


@pytest.mark.parametrize(
    "sections",
    [
        {"input": {"channels": [1]}, "noise_channels": 1},
        {"denoise": {"cover": "all"}},
        {"output": {"dtype": "float32"}},
        {"noise": {"kind": "gaussian", "noise_std": 30.0}},
    ],
    ids=["channel", "cover all", "float32", "gaussian"],
)
def test_settings_are_the_runs(sections: dict[str, Any], source: Path) -> None:
    config = config_of(source, **sections)
    image = small_image(SHAPE)[:, config["input"].get("channels", [0, 1])]
    if config["denoise"].get("cover"):
        # Patches of 3 on every second voxel leave the last of 52 columns.
        padded = np.pad(image, [(0, 0)] * 4 + [(0, 1)], mode="reflect")
        result = whole_image(padded, config)[..., :41, :52]
    else:
        result = whole_image(image, config)
    expected = result if "output" in sections else rounded(result)
    array = lazy(config, chunks={"y": 17, "x": 30})
    np.testing.assert_array_equal(array.compute(), expected)


def test_a_movie_as_a_stack(tmp_path: Path) -> None:
    image = small_image((7, 1, 1, 30, 33))
    config = config_of(
        write_czi(tmp_path / "in.czi", image),
        noise_channels=1,
        denoise={"patch": {"z": 1, "y": 1, "x": 1}, "time_as_z": True},
    )
    found = lazy(config, chunks={"t": 3, "x": 20}).compute()
    np.testing.assert_array_equal(found, rounded(whole_image(image, config)))


def test_gaps_stay_0_and_filters_are_denoisers(tmp_path: Path) -> None:
    image = small_image((1, 1, 1, 40, 50))
    image[..., 25:, :20] = 0
    tiles = [
        ("T0 C0 Z0", image[0, 0, 0, :25], (0, 0)),
        ("T0 C0 Z0", image[0, 0, 0, 25:, 20:], (20, 25)),
    ]
    config = config_of(write_tiles(tmp_path / "in.czi", tiles), noise_channels=1)
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": 3}
    expected = ndimage.median_filter(image, (1, 1, 1, 3, 3))
    expected[..., 25:, :20] = 0
    array = lazy(config, chunks={"y": 16, "x": 16})
    np.testing.assert_array_equal(array.compute(), expected)


def test_what_depends_on_the_blocks_has_those_of_the_run(source: Path) -> None:
    inexact = config_of(source, blocks={"context": {"y": 2, "x": 2}})
    with pytest.raises(InputError, match=r"blocks\.context.*Set blocks\.shape"):
        lazy(inexact)
    inexact["blocks"]["shape"] = {"y": 41, "x": 32}
    inexact["output"]["chunks"] = {"z": 5, "y": 41, "x": 32}
    with pytest.raises(InputError, match="Leave chunks out"):
        lazy(inexact, chunks={"x": 8})
    assert lazy(inexact).chunks[3:] == ((41,), (32, 20))
    several = config_of(source, denoise={"engine": "ndsafir"})
    several["workers"]["threads_per_worker"] = 2
    with pytest.raises(InputError, match="threads_per_worker to 1"):
        lazy(several)


@pytest.mark.parametrize("chunks", [{"c": 1}, {"y": 0}, {"x": True}])
def test_chunks_that_are_none(chunks: dict[str, int], source: Path) -> None:
    with pytest.raises(InputError, match="Expected voxels by axis"):
        lazy(config_of(source), chunks=chunks)


def test_a_chunk_is_computed_once_and_only_what_is_looked_at(
    source: Path, whole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[tuple[int, ...]] = []
    compute = lazy_image.LazyImage._computed

    def noted(self: lazy_image.LazyImage, index: tuple[int, ...]) -> np.ndarray:
        computed.append(index)
        return compute(self, index)

    monkeypatch.setattr(lazy_image.LazyImage, "_computed", noted)
    config = config_of(source, denoise={"patch": {"z": 1, "y": 2, "x": 2}})
    array = lazy(config, chunks={"z": 2, "y": 41, "x": 26})
    for z in (0, 1, 0):
        np.testing.assert_array_equal(array[1, 0, z].compute(), whole[1, 0, z])
    assert sorted(computed) == [(1, 0, 0, 0), (1, 0, 0, 1)]
    # Several threads of a viewer's do not compute it twice.
    looks = [threading.Thread(target=array[0, 1, 4].compute) for _ in range(3)]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    assert len(computed) == 4
    monkeypatch.setattr(lazy_image, "CACHE_BYTES", 1)
    array[0, 0, 0].compute()
    array[1, 0, 0].compute()
    assert len(computed) > 6


def test_chunks_are_chosen_by_their_time(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(source)
    assert lazy(config).numblocks == (2, 1, 1, 1, 1)
    monkeypatch.setattr(lazy_chunks, "SECONDS", 0.0)
    smallest = lazy(config)
    assert smallest.chunksize[2:] == (1, 32, 32)


def test_it_can_go_to_other_processes(source: Path, whole: np.ndarray) -> None:
    config = config_of(source, denoise={"patch": {"z": 1, "y": 2, "x": 2}})
    array = lazy(config, chunks={"z": 3})
    array[0].compute()
    text = pickle.dumps(array)
    assert len(text) < 100_000
    there = pickle.loads(text)  # noqa: S301 - our own
    np.testing.assert_array_equal(there[1, 1].compute(), whole[1, 1])
