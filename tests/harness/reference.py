"""The image that the README's numbers are of, so large that nothing of it is held."""

from typing import Any

import numpy as np

from harness.images import MemoryImage

SHAPE = (17, 1, 1501, 2048, 1936)
"""Of ``(t, c, z, y, x)``: a time lapse of a Lattice Lightsheet 7, 188 GiB of uint16."""

DENOISE: dict[str, Any] = {"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4}


class ReferenceImage(MemoryImage):
    """Zeros, of which there is one in memory."""

    path = "reference.czi"

    def __init__(self) -> None:
        super().__init__(np.broadcast_to(np.uint16(0), SHAPE))
        self.scale_um = (0.145, 0.145, 0.145)
        self.time_step_s = 60.0
