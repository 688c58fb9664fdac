"""What every reader of images is held to: a test class, to be inherited.

A class of a format says how an image is written and of which shapes and types its files
can be; whatever writes them should not be this program.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import (
    describe,
    described_image,
    inspect_image,
    is_image,
    open_image,
)
from denoise_daisy.images.input import Input
from harness.czi_files import ALL, noise

READ_THERE = """
import pickle, sys
image, key = pickle.loads(sys.stdin.buffer.read())
sys.stdout.buffer.write(image[key].tobytes())
"""


def some_keys(shape: tuple[int, ...], count: int, seed: int) -> list[tuple[slice, ...]]:
    """Random regions, single voxels and empty ones among them."""
    rng = np.random.default_rng(seed)
    ends = [np.sort(rng.integers(0, n + 1, (count, 2)), axis=1) for n in shape]
    return [tuple(slice(*map(int, e[i])) for e in ends) for i in range(count)]


class ReaderContract:
    """Inherited by a class per format, whose name begins with Test."""

    shapes: tuple[tuple[int, ...], ...] = ((2, 3, 4, 33, 41), (1, 1, 1, 5, 7))
    """Of ``(t, c, z, y, x)``."""
    dtypes: tuple[str, ...] = ("uint8", "uint16", "float32")
    reads: int = 10_000
    """How many must leave nothing behind."""

    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        """Write an image into a folder that is there: the `input` of its config."""
        raise NotImplementedError

    def opened(self, folder: Path, voxels: np.ndarray, **asked: Any) -> Any:
        return open_image(self.source(folder, voxels, **asked))

    def source(self, folder: Path, voxels: np.ndarray, **asked: Any) -> Input:
        return Input(**self.write(folder, voxels) | asked)

    def test_any_part_is_that_of_the_whole(self, tmp_path: Path) -> None:
        for i, shape in enumerate(self.shapes):
            for dtype in self.dtypes:
                folder = tmp_path / f"{i}{dtype}"
                folder.mkdir()
                voxels = noise(shape, dtype, seed=i)
                image = self.opened(folder, voxels)
                assert image.shape == shape
                assert image.ndim == 5
                assert image.dtype == np.dtype(dtype)
                beyond = tuple(slice(n - 1, n + 3) for n in shape)
                for key in [ALL, beyond, *some_keys(shape, 20, seed=i)]:
                    part = image[key]
                    np.testing.assert_array_equal(part, voxels[key])
                    assert part.dtype == np.dtype(dtype)
                    assert part.dtype.isnative
                    assert part.flags.c_contiguous
                    assert part.flags.writeable
                    assert image.valid(key) is None
                assert not image.has_gaps
                assert image.origin == (0, 0, 0, 0)

    def test_channels_are_chosen_by_number_and_by_name(self, tmp_path: Path) -> None:
        voxels = noise(self.shapes[0])
        names = [f"name {i}" for i in range(voxels.shape[1])]
        image = self.opened(
            tmp_path, voxels, channels=(2, "name 0"), channel_names=tuple(names)
        )
        np.testing.assert_array_equal(image[ALL], voxels[:, [2, 0]])
        assert image.selected == (2, 0)
        assert [channel.name for channel in image.channels] == ["name 2", "name 0"]

    def test_it_is_read_in_another_process(self, tmp_path: Path) -> None:
        voxels = noise(self.shapes[0])
        image = self.opened(tmp_path, voxels)
        image[ALL]  # what was opened by a read must not hinder
        pickled = pickle.loads(pickle.dumps(image))  # noqa: S301 - our own
        for copy in (pickled, described_image(describe(image))):
            assert copy == image
            key = some_keys(image.shape, 1, seed=7)[0]
            ended = subprocess.run(
                [sys.executable, "-c", READ_THERE],
                input=pickle.dumps((copy, key)),
                capture_output=True,
                check=True,
            )
            assert ended.stdout == voxels[key].tobytes()

    def test_a_path_tells_what_it_is(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, noise(self.shapes[1]))
        assert is_image(Path(source.one.path))
        facts = inspect_image(source.one.path) if source.axes is None else None
        if facts:
            assert [scene.problem for scene in facts.scenes] == [None]
            assert facts.scenes[0].shape == self.shapes[1]
            assert facts.bytes > 0

    def test_its_identity_tells_it_from_a_changed_one(self, tmp_path: Path) -> None:
        voxels = noise(self.shapes[0])
        source = self.source(tmp_path, voxels)
        image = open_image(source)
        assert image.identity
        assert image.current_identity() == image.identity
        assert open_image(source).identity == image.identity
        other = tmp_path / "other"
        other.mkdir()
        changed = self.source(other, voxels[..., :-1])
        os.sync()
        assert open_image(changed).identity != image.identity

    def test_what_is_away_is_refused(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, noise(self.shapes[1]))
        moved = Path(source.one.path).rename(tmp_path / "moved")
        with pytest.raises(InputError) as caught:
            open_image(source)
        assert "Expected" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert moved.exists()

    def test_descriptors_and_memory_stay_flat(self, tmp_path: Path) -> None:
        shape = self.shapes[0]
        image = self.opened(tmp_path, noise(shape))
        process = psutil.Process()
        key = tuple(slice(n // 2, n // 2 + 1) for n in shape)
        for _ in range(50):
            image[key]
        descriptors, memory = process.num_fds(), process.memory_info().rss
        for _ in range(self.reads):
            image[key]
        assert process.num_fds() <= descriptors
        assert process.memory_info().rss - memory < 16 << 20
