"""OME-TIFF files: BigTIFF, tiled, pyramids as SubIFDs, written page by page."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.images.image import Channel
from denoise_daisy.outputs.ome_xml import clean

TILE = 512
"""Voxels along y and x of a tile, at most."""

TILE_STEP = 16
"""TIFF's tiles are multiples of so many voxels."""

BUFFER_BYTES = 1 << 26
"""Of tiles that are compressed at once."""

NAMESPACE = "denoise_daisy"
"""Of the annotation that tells where an image comes from."""


@dataclass(frozen=True)
class Described:
    """What the OME-XML of a file says of its image."""

    name: str
    shape: tuple[int, ...]
    """Voxels along (t, c, z, y, x)."""
    dtype: str
    scale_um: tuple[float | None, ...]
    """Size of a voxel along (z, y, x); None where not known."""
    time_step_s: float | None
    channels: tuple[Channel, ...]
    origin: str
    """Where the image comes from, as text."""


Pages = Callable[[], Iterator[np.ndarray]]
"""The pages of a level ``(y, x)``, in the order of t, then z, then c."""


def write_ome_tiff(
    path: Path, about: Described, levels: Sequence[tuple[tuple[int, int], Pages]]
) -> None:
    """Write a file of an image and its levels, each with the shape of its pages.

    Compressed without loss, by zlib, which all readers know.
    """
    import tifffile  # noqa: PLC0415 - heavy

    t, c, z, _, _ = about.shape
    creator = f"denoise_daisy {version('denoise-daisy')}"
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for i, (plane, pages) in enumerate(levels):
            tile = tuple(min(TILE, -(-n // TILE_STEP) * TILE_STEP) for n in plane)
            file.write(
                _tiles(pages(), tile),
                shape=(t, z, c, *plane),
                dtype=about.dtype,
                photometric="minisblack",
                tile=tile,
                compression="zlib",
                predictor=about.dtype != "float32",
                subfiletype=int(i > 0),
                subifds=0 if i else len(levels) - 1,
                metadata=None if i else _metadata(about, creator),
                software=False if i else creator,
                buffersize=BUFFER_BYTES,
            )


def _metadata(about: Described, creator: str) -> dict[str, Any]:
    """As tifffile wants it, which makes the OME-XML of it."""
    sizes = zip("ZYX", about.scale_um, strict=True)
    spatial = {
        key: value
        for axis, size in sizes
        if size
        for key, value in (
            (f"PhysicalSize{axis}", size),
            (f"PhysicalSize{axis}Unit", "µm"),
        )
    }
    time = {"TimeIncrement": about.time_step_s, "TimeIncrementUnit": "s"}
    return {
        "axes": "TZCYX",
        "Creator": creator,
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}:{about.origin}")),
        "Name": clean(about.name),
        "Channel": {
            "Name": [clean(channel.name) for channel in about.channels],
            "Color": [_color(channel.color) for channel in about.channels],
        },
        "CommentAnnotation": {"Namespace": NAMESPACE, "Value": about.origin},
        **spatial,
        **(time if about.time_step_s else {}),
    }


def _color(name: str) -> int:
    """RRGGBB, opaque, as OME has it: 32 bits of red, green, blue and alpha, signed."""
    return int.from_bytes(bytes.fromhex(f"{name}FF"), "big", signed=True)


def _tiles(pages: Iterator[np.ndarray], tile: Sequence[int]) -> Iterator[np.ndarray]:
    """The tiles of pages, row after row, those at the ends filled with zeros."""
    height, width = tile
    for page in pages:
        for y in range(0, page.shape[0], height):
            for x in range(0, page.shape[1], width):
                part = page[y : y + height, x : x + width]
                if part.shape == (height, width):
                    yield np.ascontiguousarray(part)
                    continue
                whole = np.zeros((height, width), page.dtype)
                whole[: part.shape[0], : part.shape[1]] = part
                yield whole
