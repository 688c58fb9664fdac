"""OME-NGFF 0.5: groups of images, as a plate's or one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denoise_daisy.durable import write_atomic
from denoise_daisy.outputs.ome_metadata import VERSION
from denoise_daisy.outputs.ome_xml import Collected, ome_xml
from denoise_daisy.outputs.ome_zarr import create_group

SERIES = "OME"
"""Group that lists the images of a collection without wells."""

XML = "METADATA.ome.xml"
"""By which napari and Bio-Formats find these images."""

BIOFORMATS2RAW_LAYOUT = 3


def create_series(
    path: Path, images: Sequence[Collected], own: Mapping[str, Any]
) -> None:
    """Make, or renew, a group of images in the layout of bioformats2raw.

    `own` is what this program notes in the group.
    """
    root = {"version": VERSION, "bioformats2raw.layout": BIOFORMATS2RAW_LAYOUT}
    create_group(path, root, own)
    listed = [image.path for image in images]
    create_group(path / SERIES, {"version": VERSION, "series": listed}, own)
    write_atomic(path / SERIES / XML, ome_xml(images))


def create_plate(
    path: Path,
    fields: Mapping[tuple[str, str], Sequence[str]],
    own: Mapping[str, Any],
) -> None:
    """Make, or renew, a plate of wells, each with some fields.

    `fields` has the names of a well's images by its row and column.
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
    create_group(path, {"version": VERSION, "plate": plate}, own)
    for row, column in wells:
        create_group(path / row, {}, own)
        images = [{"path": name} for name in fields[row, column]]
        well = {"version": VERSION, "well": {"images": images}}
        create_group(path / row / column, well, own)


def natural(name: str) -> tuple[int, str]:
    """A key by which 2 comes before 10, and B before AA."""
    return len(name), name
