"""How the voxels of an array are encoded, and how much that makes of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from denoise_daisy.outputs.layout import V2, Layout

BLOSC_OF_V2: dict[str, Any] = {"id": "blosc", "cname": "zstd", "shuffle": 2}
"""As numcodecs has it: with bitshuffle."""


def is_chunk(key: str) -> bool:
    """Whether a key of an array's is that of a file of voxels, not of its metadata."""
    return key.startswith("c/") or key[:1].isdecimal()


def new_array(store: Any, layout: Layout) -> Any:
    """Make a Zarr array of that layout, all voxels missing, in a folder or a store.

    That of Zarr v2 has the codec that all readers have; its chunks have no checksum.
    """
    stored = layout.stored
    if layout.ome_version == V2:
        return zarr.create_array(
            store,
            zarr_format=2,
            shape=stored(layout.shape),
            dtype=layout.dtype,
            chunks=stored(layout.chunks),
            compressors=BLOSC_OF_V2 | {"clevel": layout.compression_level},
            fill_value=0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
    return zarr.create_array(
        store,
        zarr_format=3,
        shape=stored(layout.shape),
        dtype=layout.dtype,
        chunks=stored(layout.chunks),
        shards=layout.shards and stored(layout.shards),
        compressors=[
            BloscCodec(
                cname="zstd", clevel=layout.compression_level, shuffle="bitshuffle"
            ),
            Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=list(layout.axes),
    )


def encoded_bytes(voxels: np.ndarray, layout: Layout) -> int:
    """Bytes of the files of an array of that layout that began with these voxels.

    They are encoded in memory; voxels are of ``(t, c, z, y, x)`` and of its type.
    """
    files: dict[str, Buffer] = {}
    layout = replace(layout, shape=voxels.shape)
    array = new_array(MemoryStore(files), layout)
    stored = voxels.reshape(layout.stored(voxels.shape))
    array.with_config({"write_empty_chunks": True})[...] = stored
    return sum(len(data) for key, data in files.items() if is_chunk(key))
