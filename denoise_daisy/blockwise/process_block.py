"""What happens to one block: read, compute, fit, write, make durable."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.geometry import Index
from denoise_daisy.run_dir.exit_codes import DISK_ERRORS


class UnwantedError(Exception):
    """The run that the block belongs to was replaced by another."""


class OutputFullError(OSError):
    """The output can't be written: its disk is full, over quota or read-only."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a block that is on disk; names as in the ledger."""

    crc: int
    chunks: str
    clipped: int
    read_seconds: float
    compute_seconds: float
    write_seconds: float
    is_left: bool
    """Whether it was written as it is, and not computed; not in the ledger."""


def process_block(
    stage: Stage, index: Index, *, durable: bool, is_wanted: Callable[[], bool]
) -> Result:
    """Do one block; on return its files are in place, and durable if so wished.

    Raises
    ------
    UnwantedError
        `is_wanted`, asked just before writing, said no; nothing was written.
    OutputGoneError
        The array to write to is not there any more; nothing was written.
    OutputFullError
        There is no room for it.
    """
    started = time.perf_counter()
    block = stage.read_block(index)
    was_read = time.perf_counter()
    left = stage.left(block)
    result = stage.compute(block) if left is None else left
    was_computed = time.perf_counter()
    content = stage.target.content(block, result)
    is_left = left is not None
    del block, result, left
    if not is_wanted():
        raise UnwantedError(f"The output of block {list(index)} is another run's now.")
    try:
        stage.target.write(content, stage.grid, index, durable=durable)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        # The same error of a stage's computation is of a disk of its own.
        raise OutputFullError(error.errno, error.strerror, error.filename) from error
    return Result(
        crc=content.crc,
        chunks=content.chunks,
        clipped=content.clipped,
        read_seconds=round(was_read - started, 3),
        compute_seconds=round(was_computed - was_read, 3),
        write_seconds=round(time.perf_counter() - was_computed, 3),
        is_left=is_left,
    )
