"""A user's function as the computation of a stage."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.geometry import LevelTransform
from denoise_daisy.images.image import Image
from denoise_daisy.tasks.user_function import BlockContext, UserFunction


@dataclass(frozen=True)
class Caller:
    """The user's function as the computation of a stage."""

    user: UserFunction
    image: Image
    transform: LevelTransform
    image_roi: Roi
    names: tuple[str, ...]
    """Of the arrays that a block has."""
    values: Mapping[str, Callable[[], bytes]]
    """How the values of other tasks are read."""

    def with_written(self, target: Level) -> Callable[[Block], np.ndarray]:
        """The function, able to look at what the stage has written."""

        def written(roi: Roi) -> np.ndarray:
            return target.read_so_far(roi.intersect(target.roi))

        return lambda block: self(block, written)

    def values_of(self, block: Block) -> bytes:
        """The function's small array as a file."""
        buffer = io.BytesIO()
        np.save(buffer, self(block, _nothing), allow_pickle=False)
        return buffer.getvalue()

    def __call__(
        self, block: Block, written: Callable[[Roi], np.ndarray]
    ) -> np.ndarray:
        """What it returns for a block, told where that lies."""
        # Before its setup is called: its code may have changed.
        call = self.user.call
        image = self.image
        inputs = dict(zip(self.names, block.arrays, strict=True))
        inputs |= {n: np.load(io.BytesIO(load())) for n, load in self.values.items()}
        context = BlockContext(
            roi=block.read_roi,
            write_roi=block.write_roi,
            image_roi=self.image_roi,
            voxel_size_um=tuple(
                size * factor if size else None
                for size, factor in zip(
                    image.scale_um, self.transform.factor[1:], strict=True
                )
            ),
            time_step_s=image.time_step_s,
            factor=tuple(self.transform.factor),
            params=self.user.params,
            state=self.user.state,
            inputs=inputs,
            written=written,
        )
        return np.asarray(call(block.arrays[0], context))


def _nothing(_: Roi) -> np.ndarray:
    raise ValueError("this task writes no array that could be read")
