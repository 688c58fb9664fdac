"""A folder of PYTHONPATH that brings faults into the processes of a run."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

MARK = 40_000
"""Grey level at the centre of block 0, as in `faulty`; that of block i is i more."""


class Hook:
    """A copy of `faulty`, and what it has noted."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.noted = folder / "begun"
        source = Path(__file__).with_name("faulty.py")
        shutil.copy(source, folder / "sitecustomize.py")

    def env(self, faults: dict[str, Any]) -> dict[str, str]:
        """An environment whose processes have these faults."""
        path = [str(self.folder), os.environ.get("PYTHONPATH", "")]
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "FAULTS": json.dumps(faults),
        }

    def set(self, **faults: Any) -> None:
        """Those of processes that have none by their environment, from now on."""
        partial = self.folder / "faults.json.partial"
        partial.write_text(json.dumps(faults))
        partial.replace(self.folder / "faults.json")

    def begun(self) -> list[tuple[int, int]]:
        """Every denoising that was begun: block and process."""
        lines = self.noted.read_text().splitlines() if self.noted.exists() else []
        return [(int(block), int(pid)) for block, pid in map(str.split, lines)]

    def forget(self) -> None:
        """Count from 0 again."""
        self.noted.unlink(missing_ok=True)
