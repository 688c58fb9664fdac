"""OME-NGFF: groups of images, as a plate's or one by one, and their OME-XML."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from denoise_daisy.durable import write_atomic
from denoise_daisy.images.original import Original
from denoise_daisy.outputs.layout import V3, OmeVersion
from denoise_daisy.outputs.ome_groups import create_group
from denoise_daisy.outputs.ome_metadata import VERSION
from denoise_daisy.outputs.ome_xml import FOLDER, XML, Collected, ome_xml

BIOFORMATS2RAW_LAYOUT = 3


def create_series(
    path: Path,
    images: Sequence[Collected],
    original: Original,
    own: Mapping[str, Any],
    version: OmeVersion = V3,
) -> None:
    """Make, or renew, a group of images in the layout of bioformats2raw.

    `original` is what their file tells, `own` what this program notes in the group.
    """
    root = {"version": VERSION, "bioformats2raw.layout": BIOFORMATS2RAW_LAYOUT}
    create_group(path, root, own, version)
    listed = [image.path for image in images]
    keep_metadata(path, images, original, own, {"series": listed}, version)


def keep_metadata(
    path: Path,
    images: Sequence[Collected],
    original: Original,
    own: Mapping[str, Any],
    more: Mapping[str, Any] = MappingProxyType({}),
    version: OmeVersion = V3,
) -> None:
    """Write the OME-XML of a group's images, or of its only one, into a group of it.

    `more` are OME's metadata of that one.
    """
    create_group(path / FOLDER, {"version": VERSION, **more}, own, version)
    write_atomic(path / FOLDER / XML, ome_xml(images, original))


def create_plate(
    path: Path,
    fields: Mapping[tuple[str, str], Sequence[Collected]],
    original: Original,
    own: Mapping[str, Any],
    version: OmeVersion = V3,
) -> None:
    """Make, or renew, a plate of wells, each with some fields.

    `fields` has a well's images by its row and column, each by its name in the well;
    `original` is what their file tells.
    """
    rows = sorted({row for row, _ in fields}, key=natural)
    columns = sorted({column for _, column in fields}, key=natural)
    wells = sorted(fields, key=lambda well: (natural(well[0]), natural(well[1])))
    plate = {
        "name": path.name.removesuffix(".zarr").removesuffix(".ome"),
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {
                "path": f"{row}/{column}",
                "rowIndex": rows.index(row),
                "columnIndex": columns.index(column),
            }
            for row, column in wells
        ],
        "field_count": max(map(len, fields.values())),
    }
    create_group(path, {"version": VERSION, "plate": plate}, own, version)
    for row, column in wells:
        create_group(path / row, {}, own, version)
        images = [{"path": image.path} for image in fields[row, column]]
        well = {"version": VERSION, "well": {"images": images}}
        create_group(path / row / column, well, own, version)
    described = [
        replace(image, path=f"{row}/{column}/{image.path}")
        for row, column in wells
        for image in fields[row, column]
    ]
    keep_metadata(path, described, original, own, version=version)


def natural(name: str) -> tuple[int, str]:
    """A key by which 2 comes before 10, and B before AA."""
    return len(name), name
