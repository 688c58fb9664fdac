"""Where the stages of a run write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from funlib.geometry import Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.targets import FilePerBlock, SingleFile
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, LevelTransform
from denoise_daisy.images.image import Channel
from denoise_daisy.outputs.layout import Layout, with_c
from denoise_daisy.outputs.ome_groups import LABELS
from denoise_daisy.outputs.ome_zarr import LEVEL
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.run_dir.run_dir import RunDir

TABLE = ".table"
"""What the name of a stage ends in that writes a table, beside the output."""


@dataclass(frozen=True, slots=True)
class Places:
    """The places of a run: in its output, beside it, and in its run directory."""

    run_dir: RunDir
    run_id: str
    """Whose lines in the ledgers count."""

    @property
    def output(self) -> Path:
        """The OME-Zarr of the denoised image."""
        return self.run_dir.output

    def beside(self, ending: str) -> Path:
        """A place beside the output."""
        return self.output.with_name(f"{stem_of(self.output)}.{ending}")

    @property
    def denoised(self) -> Path:
        """The full resolution of the denoised image."""
        return self.output / LEVEL

    def image(self, task: str) -> Path:
        """The full resolution of a task's own image."""
        return self.beside(f"{task}.zarr") / LEVEL

    def labels(self, task: str) -> Path:
        """The full resolution of a task's masks or labels."""
        return self.output / LABELS / task / LEVEL

    def level(
        self,
        stage: str,
        path: Path,
        layout: Layout,
        channels: tuple[Channel, ...],
        volume: Roi,
        *,
        transform: LevelTransform = FULL_RESOLUTION,
        method: str = "",
    ) -> Level:
        """An array of a volume that a stage writes, a level of some group."""
        return Level(
            path=path,
            layout=layout,
            transform=transform,
            begin=volume.begin,
            channels=channels,
            checksums=self._checksums(stage, layout.shape, layout.chunks),
            method=method,
            is_labels=path.parent.parent == self.output / LABELS,
        )

    def files(self, stage: str, grid: BlockGrid) -> FilePerBlock:
        """A file for each block, which only other stages read."""
        return FilePerBlock(
            self.run_dir.work_folder(stage), self._file_checksums(stage, grid)
        )

    def file(self, stage: str, grid: BlockGrid, path: Path) -> SingleFile:
        """The file that the only block of a stage writes."""
        return SingleFile(path, self._file_checksums(stage, grid))

    def _file_checksums(self, stage: str, grid: BlockGrid) -> Checksums:
        """A file is a chunk of its own."""
        shape, chunks = with_c(grid.volume.shape, 1), with_c(grid.block_shape, 1)
        return self._checksums(stage, shape, chunks)

    def _checksums(
        self, stage: str, shape: Sequence[int], chunks: Sequence[int]
    ) -> Checksums:
        """What the ledger of a stage says of its chunks of ``(t, c, z, y, x)``."""
        return Checksums(self.run_dir.ledger(stage), self.run_id, shape, chunks)


def stem_of(output: Path) -> str:
    """What the names of all that lies beside an output begin with."""
    return output.name.removesuffix(".zarr")
