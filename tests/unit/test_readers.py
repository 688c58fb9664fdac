"""Every reader is held to the same."""

from pathlib import Path
from typing import Any

import numpy as np
from demo_czi import write_czi

from harness.reader_contract import ReaderContract


class TestCzi(ReaderContract):
    def write(self, folder: Path, voxels: np.ndarray) -> dict[str, Any]:
        return {"path": str(write_czi(folder / "a.czi", voxels))}
