"""Ledgers of a small grid, and lines for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.geometry import BlockGrid, Index, stencil
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry, LedgerWriter

RUN = "0123456789abcdef"
LAW = stencil(Coordinate(0, 0, 1, 1), "zyx", 2)
UNIT = Coordinate(1, 2, 4, 4)
IMAGE = Roi((0, 0, 0, 0), (3, 6, 14, 16))


def grid_of(shape: tuple[int, ...]) -> BlockGrid:
    return BlockGrid(IMAGE, IMAGE, Coordinate(shape), LAW.reach, LAW)


GRID = grid_of((1, 2, 4, 8))
"""3 x 3 x 4 x 2 blocks."""


def say(
    ledger: Ledger, status: str, *blocks: int, error: str = "no", seconds: float = 0.0
) -> None:
    """Lines of a row of blocks of two voxels, as a worker writes them."""
    writer = ledger.writer("w", durable=False)
    for block in blocks:
        writer.append(
            Entry(
                block=(0, 0, 0, block),
                shape=(1, 1, 1, 2),
                status=status,  # type: ignore[arg-type]
                epoch=ledger.epoch,
                worker="w",
                seconds=seconds,
                reason=None if status == "done" else "exception",
                error=None if status == "done" else error,
            )
        )
    writer.close()


def entry(block: Index, **values: Any) -> Entry:
    values = {"shape": tuple(GRID.block_shape), "status": "done", "epoch": 1} | values
    if values["status"] == "done":
        values = {"crc": 7} | values
    else:
        values = {"reason": "exception", "error": "it broke"} | values
    return Entry(block=block, **{"worker": "w"} | values)


def line(block: Index, **values: Any) -> bytes:
    """A line as a file has it."""
    one = entry(block, **values)
    names = ("block", "shape", "status", "epoch", "worker", "crc", "reason", "error")
    fields = {name: getattr(one, name) for name in names}
    known = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(known | {"run": RUN}).encode() + b"\n"


def ledger_of(folder: Path, grid: BlockGrid = GRID) -> Ledger:
    ledger = Ledger(folder, RUN, grid, UNIT)
    ledger.refresh()
    return ledger


def done_crcs(ledger: Ledger) -> list[tuple[BlockGrid, Index, int]]:
    """Every done block, with its grid and checksum."""
    return [
        (grid, tuple(map(int, np.unravel_index(i, grid.shape))), int(crc))
        for grid, flat, crcs in ledger.done_blocks()
        for i, crc in zip(flat, crcs, strict=True)
    ]


def done_in(ledger: Ledger, grid: BlockGrid = GRID) -> set[Index]:
    return {index for index in grid.indices() if ledger.is_done(index)}


BLOCKS = list(GRID.indices())


def fill(folder: Path) -> tuple[OSError, int]:
    """Append lines until the disk is full; the error, and how many lines went well."""
    writer = LedgerWriter(folder, RUN, "w", durable=True)
    for written in range(10_000):
        block = BLOCKS[written % len(BLOCKS)]
        try:
            writer.append(entry(block, status="failed", traceback="x" * 700))
        except OSError as error:
            writer.close()
            return error, written
    raise AssertionError("the disk never was full")
