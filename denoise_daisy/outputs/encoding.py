"""How the voxels of an array are encoded, and how much that makes of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from denoise_daisy.outputs.layout import ARRAY_AXES, Layout

CHUNKS = "c/"
"""What the keys of an array's files begin with, other than that of its metadata."""


def new_array(store: Any, layout: Layout) -> Any:
    """Make a Zarr array of that layout, all voxels missing, in a folder or a store."""
    return zarr.create_array(
        store,
        zarr_format=3,
        shape=layout.shape,
        dtype=layout.dtype,
        chunks=layout.chunks,
        shards=layout.shards,
        compressors=[
            BloscCodec(
                cname="zstd", clevel=layout.compression_level, shuffle="bitshuffle"
            ),
            Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=list(ARRAY_AXES),
    )


def encoded_bytes(voxels: np.ndarray, layout: Layout) -> int:
    """Bytes of the files of an array of that layout that began with these voxels.

    They are encoded in memory; voxels are of ``(t, c, z, y, x)`` and of its type.
    """
    files: dict[str, Buffer] = {}
    array = new_array(MemoryStore(files), replace(layout, shape=voxels.shape))
    array.with_config({"write_empty_chunks": True})[...] = voxels
    return sum(len(data) for key, data in files.items() if key.startswith(CHUNKS))
