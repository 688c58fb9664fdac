"""Trying a user's function on a small block, to find what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.sources import Source
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid
from denoise_daisy.images.image import Image
from denoise_daisy.outputs.layout import without_c
from denoise_daisy.tasks.function_caller import Caller
from denoise_daisy.wording import error_text

WRITTEN = ("uint8", "uint16", "uint32", "float32")

INSTEAD = {"b": "uint8", "f": "float32", "i": "uint32", "u": "uint32"}
"""Types written in place of others, by numpy's letter for the kind."""

SHAPE = {"z": 16, "y": 64, "x": 64}
"""Voxels of the block that a function is tried on; one time point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A function that is to be tried, and what is declared of its result."""

    task: str
    function: str
    span: str
    """Axes that every block spans whole."""
    dtype: str | None
    channels: int | None
    is_labels: bool

    def result_type(
        self,
        caller: Caller,
        image: Image,
        grid: BlockGrid,
        sources: Sequence[Source],
    ) -> dict[str, Any]:
        """The type of voxels to write, and the number of channels.

        Raises
        ------
        InputError
            The function fails, or returns what can't be written.
        """
        result = self._result(caller, image, grid, sources)
        dtype = self.dtype or result.dtype.name
        if dtype not in WRITTEN:
            dtype = INSTEAD.get(result.dtype.kind, dtype)
        legal = [name for name in WRITTEN if not (self.is_labels and name == "float32")]
        if dtype not in legal:
            wanted = "whole numbers" if self.is_labels else "numbers"
            raise InputError(
                f"The function {self.function!r} of task {self.task!r} returns"
                f" {result.dtype.name}. Expected {wanted}: {', '.join(legal)}."
            )
        return {"dtype": dtype, "channels": self.channels or result.shape[1]}

    def _result(
        self,
        caller: Caller,
        image: Image,
        grid: BlockGrid,
        sources: Sequence[Source],
    ) -> np.ndarray:
        """What the function makes of a small block from the middle of the image."""
        roi = self._roi(grid)
        arrays = tuple(_stand_in(image, source, roi) for source in sources)
        block = Block((0, 0, 0, 0), roi, roi, arrays, lambda number, _: arrays[number])
        channels, dtype = self.channels or 1, self.dtype or "uint32"

        def written(part: Roi) -> np.ndarray:
            t, z, y, x = part.intersect(roi).shape
            return np.zeros((t, channels, z, y, x), dtype)

        try:
            result = caller(block, written)
            caller.user.tear_down()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            voxels = "x".join(map(str, arrays[0].shape))
            what = error_text(error, caller.user.where(error))
            raise InputError(
                f"The function {self.function!r} of task {self.task!r} failed on a"
                f" block of {voxels} voxels (t c z y x) from the middle of the image:"
                f" {what}. Correct it; or, if it only works on other blocks, declare"
                " the task's dtype and channels."
            ) from error
        if result.ndim != 5 or without_c(result.shape) != roi.shape:
            raise InputError(
                f"The function {self.function!r} of task {self.task!r} returns an array"
                f" of shape {result.shape} for a block of {arrays[0].shape} (t c z y"
                " x). Expected five axes, and along t, z, y and x as many voxels as it"
                " got."
            )
        return result

    def _roi(self, grid: BlockGrid) -> Roi:
        volume = grid.volume.shape
        shape = Coordinate(
            n if axis in self.span else min(n, SHAPE.get(axis, 1))
            for axis, n in zip("tzyx", volume, strict=True)
        )
        return Roi(grid.volume.begin + (volume - shape) // 2, shape)


def _stand_in(image: Image, source: Source, roi: Roi) -> np.ndarray:
    """Voxels like those of a source that is not there yet: the raw image's."""
    channels = len(source.channels)
    t, z, y, x = roi.shape
    if source.transform == FULL_RESOLUTION and channels == image.shape[1]:
        ts, zs, ys, xs = roi.to_slices()
        return image[ts, slice(0, channels), zs, ys, xs].astype(source.dtype)
    return np.zeros((t, channels, z, y, x), source.dtype)
