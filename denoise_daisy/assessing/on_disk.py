"""What of a run can be read now: its output as it was written, and its raw image."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.checked_read import checked
from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.patience import UnrecordedError
from denoise_daisy.blockwise.sources import Raw
from denoise_daisy.blockwise.stage import ONLY_BLOCK
from denoise_daisy.durable import persistently
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import BlockGrid
from denoise_daisy.images.channels import told_apart
from denoise_daisy.outputs.ome_zarr import DamagedError
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.record import RunRecord


class UnreadableError(Exception):
    """What can't be read now, and why."""


@dataclass(frozen=True, eq=False)
class OnDisk:
    """A run, and what it has left."""

    run: ResolvedRun
    record: RunRecord
    ledger: Ledger
    """Of the denoising, as it stands now."""
    input_problem: str
    """Why the raw image is not to be read; empty where it is."""
    output_problem: str
    """The same of the output."""

    @property
    def volume(self) -> Roi:
        """What was to be denoised, in voxels of the image."""
        return self.run.denoising.grid.volume

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image's, by which each is told from the others."""
        return told_apart([channel.name for channel in self.run.image.channels])

    def is_done(self, roi: Roi) -> bool:
        """Whether all blocks that hold a Roi are done."""
        grid = self.run.denoising.grid
        begin = roi.begin - grid.volume.begin
        first = begin // grid.block_shape
        last = -(-(begin + roi.shape) // grid.block_shape)
        t, z, y, x = (slice(a, b) for a, b in zip(first, last, strict=True))
        return bool(self._done[t, z, y, x].all())

    @cached_property
    def _done(self) -> np.ndarray:
        return self.ledger.done.reshape(self.run.denoising.grid.shape)

    def left_as_is(self, roi: Roi) -> float:
        """Share of a Roi's voxels that were written as they are, and not denoised."""
        found = np.zeros(tuple(roi.shape), bool)
        begin = roi.begin - self.volume.begin
        for grid, blocks in self._as_is:
            voxels = zip(begin, roi.shape, grid.block_shape, strict=True)
            places = [(first + np.arange(n)) // edge for first, n, edge in voxels]
            found |= blocks[np.ix_(*places)]
        return float(found.mean())

    @cached_property
    def _as_is(self) -> list[tuple[BlockGrid, np.ndarray]]:
        """Which blocks these are, as a mask, by the grid of their shape."""
        if NO_ENGINE not in self.ledger.engines():
            return []
        run, stage = self.run, self.run.denoising
        folder = run.run_dir.ledger(stage.name)
        table = LedgerTable(folder, run.id, stage.grid, stage.file_shape)
        persistently(table.refresh)
        rows, names, found = table.rows[table.standing()], table.names, []
        rows = rows[rows["engine"] == names.engines.index(NO_ENGINE)]
        for number in np.unique(rows["shape"]):
            shape = Coordinate(names.shapes[number])
            grid = replace(stage.grid, block_shape=shape)
            blocks = np.zeros(grid.shape, bool)
            blocks[tuple(rows["block"][rows["shape"] == number].T)] = True
            found.append((grid, blocks))
        return found

    def denoised(self, roi: Roi) -> np.ndarray:
        """The output's voxels ``(t, c, z, y, x)``, as they were written.

        Raises
        ------
        UnreadableError
            They are gone, or not what was written.
        """
        if self.output_problem:
            raise UnreadableError(self.output_problem)
        return written(self.run.array, roi)

    def raw(self, roi: Roi) -> np.ndarray:
        """The raw image's voxels ``(t, c, z, y, x)``.

        Raises
        ------
        UnreadableError
            It is away, or another.
        """
        if self.input_problem:
            raise UnreadableError(self.input_problem)
        try:
            return cast("Raw", self.run.denoising.sources[0]).read(roi)
        except (InputError, OSError) as error:
            raise UnreadableError(str(error)) from error

    def context_of(self, roi: Roi) -> Roi:
        """What a block of that Roi would read."""
        grid = self.run.denoising.grid
        one = replace(grid, volume=roi, block_shape=roi.shape)
        return one.read_roi(ONLY_BLOCK)


def written(level: Level, roi: Roi) -> np.ndarray:
    """Voxels of a level as they were written; nothing is waited for.

    Raises
    ------
    UnreadableError
        They are gone, or not what was written.
    """
    try:
        return persistently(lambda: checked(level, roi, level.written))
    except FileNotFoundError as error:
        raise UnreadableError(f"a file of the output is gone ({error})") from error
    except (DamagedError, UnrecordedError, OSError, ValueError) as error:
        raise UnreadableError(f"the output can't be read there ({error})") from error
