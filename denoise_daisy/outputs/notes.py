"""What this program notes in the groups that it makes, under one key of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from denoise_daisy.durable import sync

OWN = "denoise_daisy"
"""The attribute of a group that has it."""

DOCUMENTS = ("zarr.json", ".zattrs")
"""What holds a group's attributes, of Zarr 3 and of Zarr 2."""


def note(path: Path, own: Mapping[str, Any]) -> None:
    """Put what this program notes in a group that is there in the place of what it had.

    All other attributes stay.
    """
    group = zarr.open_group(path, mode="r+")
    group.attrs.update({OWN: own})
    for place in (*(path / name for name in DOCUMENTS), path):
        if place.exists():
            sync(place)
