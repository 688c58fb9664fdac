"""Blocks that are written as they are, and voxels that stay 0: nothing is there."""

from dataclasses import dataclass

import numpy as np

from denoise_daisy.blockwise.fit import trim
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.images.image import Image, roi_of, valid_in


@dataclass(frozen=True)
class AsIs:
    """What of an image is not denoised."""

    image: Image
    below: float | None
    """Grey level; a block that reads nothing above it is written as it is.  None: only
    one that writes nothing that the file holds."""

    def left(self, block: Block) -> np.ndarray | None:
        """The voxels of a block that is written as it is; None of one to denoise."""
        raw = block.arrays[0]
        there = valid_in(self.image, block.write_roi)
        if there is not None and not there.any():
            return self.without_gaps(block, raw)
        if self.below is None:
            return None
        # Layers mirrored behind the image's end are none of its own.
        own = block.read_roi.intersect(roi_of(self.image))
        voxels = trim(raw, block.read_roi, own)
        is_empty = nothing_above(voxels, valid_in(self.image, own), self.below)
        return self.without_gaps(block, raw) if is_empty else None

    def without_gaps(self, block: Block, result: np.ndarray) -> np.ndarray:
        """A block's result, which may be overwritten: 0 where the file holds nothing.

        It is of the read ROI or of the write ROI.
        """
        there = valid_in(self.image, block.write_roi)
        if there is not None:
            result = trim(result, block.read_roi, block.write_roi)
            np.copyto(result, 0, where=~there)
        return result


def nothing_above(voxels: np.ndarray, there: np.ndarray | None, below: float) -> bool:
    """Whether none of the voxels that are there is above a grey level; NaN is not."""
    above = voxels > below
    if there is not None:
        above &= there
    return not above.any()
