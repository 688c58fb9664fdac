"""What tells the first time points of a CZI from others, while it grows."""

import hashlib

import numpy as np

from denoise_daisy.images.czi_directory import read_directory
from denoise_daisy.images.czi_scene import sub_blocks_of


def earlier_sub_blocks(path: str, scene: int | None, end: int) -> dict[str, str | int]:
    """The file's id, and a checksum of what its directory says of a scene before `end`.

    `end` is an index along T, as the file counts.  What was written behind the scene's
    sub-blocks, such as reduced copies, does not matter, nor does their order.

    Raises
    ------
    InputError
        The file is no CZI any more, or is cut short.
    """
    directory = read_directory(path)
    blocks = sub_blocks_of(path, directory, scene)
    times = blocks.starts.get("T", np.zeros(len(blocks), np.int32))
    rows = blocks.where(times < end)
    order = np.argsort(rows.positions, kind="stable")
    checksum = hashlib.sha256()
    for column in (rows.positions, rows.pixel_types, rows.compressions):
        checksum.update(column[order].tobytes())
    for name in sorted(d for d, sizes in rows.sizes.items() if sizes.any()):
        checksum.update(name.encode())
        checksum.update(rows.starts[name][order].tobytes())
        checksum.update(rows.sizes[name][order].tobytes())
    return {
        "guid": directory.identity["guid"],
        "sub_blocks_sha256": checksum.hexdigest(),
    }
