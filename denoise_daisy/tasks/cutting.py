"""How the volume of a run is cut into blocks, chunks and shards, at every level."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.block_shape import (
    Blocks,
    TaskBlocks,
    asked_shape,
    check_shape,
    fitted,
)
from denoise_daisy.blockwise.sources import Source
from denoise_daisy.geometry import BlockGrid, LevelTransform, neighbourhood
from denoise_daisy.outputs.layout import (
    Layout,
    Output,
    auto_shards,
    chunks_of,
    with_c,
    without_c,
)
from denoise_daisy.run_dir.record import StageRecord

NO_CONTEXT = Coordinate(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Cutting:
    """The volume that is written, and how it is to be cut."""

    output: Output
    """How arrays lie on disk."""

    volume: Roi
    """What is written, in voxels of the image."""

    recorded: Mapping[str, StageRecord]
    """What an earlier start has kept of its stages."""

    is_restored: bool
    """Whether all of it was cut before, so that nothing has to be checked again."""

    def volume_in(self, transform: LevelTransform) -> Roi:
        """What is written, in voxels of a level."""
        return transform.from_image(self.volume)

    def grid(
        self,
        sources: Sequence[Source],
        transform: LevelTransform,
        block_shape: Coordinate,
        reach: Coordinate = NO_CONTEXT,
    ) -> BlockGrid:
        """Blocks of the volume; context is clipped to what all the sources have."""
        volume = readable = self.volume_in(transform)
        rois = [s.roi for s in sources if s.transform == transform]
        if rois:
            readable = reduce(Roi.intersect, rois)
        return BlockGrid(readable, volume, block_shape, reach, neighbourhood(reach))

    def block_shape(
        self,
        stage: str,
        blocks: TaskBlocks | Blocks,
        volume: Roi,
        choose: Callable[[Coordinate | None], Coordinate],
        *,
        key: str = "",
        span: str = "",
        file_shape: Coordinate | None = None,
    ) -> Coordinate:
        """Voxels of a block: as asked, or as chosen.

        Parameters
        ----------
        choose
            The shape where none is asked for, from that of an earlier start, if any.
        key
            Of the config, where the shape is asked for; to be named in refusals.
        span
            Axes that every block spans whole.
        file_shape
            Voxels of an output file, of which an asked shape must be a multiple; a
            chunk, unless said otherwise.

        Raises
        ------
        InputError
            Two blocks of the shape that is asked for would write one file.
        """
        if isinstance(blocks.shape, dict):
            shape = asked_shape(blocks.shape, volume.shape, span)
            file_shape = file_shape or self.chunk(volume)
            check_shape(shape, file_shape, volume.shape, key)
            return shape
        record = self.recorded.get(stage)
        kept = Coordinate(record.block_shape) if record else None
        if kept is None or not self.is_restored:
            kept = choose(kept)
        return fitted(kept, volume.shape, span)

    def pooled_shape(
        self, finer: Coordinate, factors: Coordinate, volume: Roi
    ) -> Coordinate:
        """Voxels of a block of a coarser level: it reads about a block of the finer."""
        chunk = self.chunk(volume)
        shape = -((-finer) // factors)
        return fitted(-((-shape) // chunk) * chunk, volume.shape)

    def chunk(self, volume: Roi) -> Coordinate:
        """Voxels of a chunk, the smallest block."""
        return without_c(chunks_of(self.output, with_c(volume.shape, 1)))

    def layout(
        self,
        volume: Roi,
        channels: int,
        dtype: str,
        block_shape: Coordinate,
        shards: tuple[int, ...] | None = None,
        *,
        is_labels: bool = False,
    ) -> Layout:
        """How an array lies on disk: in whole shards of its blocks unless given.

        Labels of one channel have no axis of channels: viewers lay them over images
        that they have split by channel, and count axes from the last.
        """
        shape, block = with_c(volume.shape, channels), with_c(block_shape, channels)
        chunks = tuple(map(min, chunks_of(self.output, shape), block))
        if shards is None and self.output.has_shards:
            shards = auto_shards(block, shape, chunks, dtype)
        return Layout(
            shape,
            dtype,
            chunks,
            shards,
            self.output.compression_level,
            self.output.ome_version,
            has_channels=not is_labels or channels > 1,
        )
