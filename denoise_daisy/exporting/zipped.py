"""OME-Zarr in one file, ``.ozx``: a ZIP archive of the same files.

As RFC-9 of OME-NGFF has it: nothing is compressed again, the ``zarr.json`` of the root
comes first and those of all other groups and arrays next, the shallowest first, and the
archive's comment has the version.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from denoise_daisy.outputs.ome_groups import METADATA

TIME = (1980, 1, 1, 0, 0, 0)
"""Of every entry, so that the same files make the same archive."""

PIECE = 1 << 22
"""Bytes that are copied at once."""


def files_in(folder: Path) -> list[Path]:
    """All files of a Zarr, in the order of the archive; what writers left is none."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".partial"
    ]
    return sorted(found, key=lambda path: _rank(path.relative_to(folder)))


def _rank(path: Path) -> tuple[bool, int, str]:
    is_metadata = path.name == METADATA
    return not is_metadata, len(path.parts) if is_metadata else 0, path.as_posix()


def write_zip(
    target: Path,
    folder: Path,
    files: Sequence[Path],
    version: str,
    told: Callable[[int], object],
) -> None:
    """Write files of a folder into an archive; `told` gets the bytes of each."""
    comment = {
        "ome": {
            "version": version,
            "zipFile": {"centralDirectory": {"jsonFirst": True}},
        }
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.comment = json.dumps(comment).encode()
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), TIME)
            entry.external_attr = 0o644 << 16
            with (
                path.open("rb") as source,
                archive.open(entry, "w", force_zip64=True) as copy,
            ):
                shutil.copyfileobj(source, copy, PIECE)
            told(path.stat().st_size)
