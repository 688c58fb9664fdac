"""What can be exported: an image of a run, or its labels, as they lie on disk.

Its sizes, names and levels are those of its OME metadata.  Its voxels are held against
the ledger where the run directory is there, else read as they are; none may be missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.level import Level
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.durable import persistently
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.image import Channel
from denoise_daisy.images.ome_ngff import (
    Dataset,
    Multiscale,
    axes_of,
    channels_of,
    multiscale_of,
    sizes_of,
)
from denoise_daisy.images.zarr_nodes import read_node
from denoise_daisy.images.zarr_place import LocalPlace
from denoise_daisy.outputs.five_axes import stored_shape
from denoise_daisy.outputs.layout import (
    ARRAY_AXES,
    ARRAY_METADATA,
    V2,
    V3,
    Layout,
    without_c,
)
from denoise_daisy.outputs.ome_groups import version_of
from denoise_daisy.outputs.ome_zarr import damage_told, files_of, open_written
from denoise_daisy.progress import listing
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger

Box = tuple[slice, ...]
"""Parts along ``(t, z, y, x)``, from the array's first voxel."""


@dataclass(frozen=True)
class StoredLevel:
    """An array of a picture."""

    path: Path
    layout: Layout
    factor: tuple[int, ...]
    """Voxels of the first level per voxel, ``(t, z, y, x)``."""
    written: Any
    """As Zarr has it."""
    stage: Stage | None
    """What writes it, where that is known."""

    @property
    def level(self) -> Level | None:
        """The same for the run that has written it."""
        return self.stage.array if self.stage else None

    def read(self, box: Box) -> np.ndarray:
        """Its voxels ``(t, c, z, y, x)``, of all channels.

        Raises
        ------
        FileNotFoundError, DamagedError, UnrecordedError
            As `Level.read` does.
        """
        if self.level:
            return self.level.read(self.roi(box) + self.level.begin)
        t, z, y, x = box
        with damage_told():
            return np.asarray(self.written[t, :, z, y, x])

    def roi(self, box: Box) -> Roi:
        """A box as a Roi."""
        begin = Coordinate(part.start for part in box)
        return Roi(begin, Coordinate(part.stop for part in box) - begin)

    def files(self, box: Box) -> list[Path]:
        """The files that hold a box."""
        # Labels of earlier runs have an axis c on disk, which the run has not now.
        return list(files_of(self.path, self.layout, self.roi(box)))


@dataclass(frozen=True)
class Picture:
    """An image or labels, with levels."""

    path: Path
    """Its group."""
    levels: tuple[StoredLevel, ...]
    scale_um: tuple[float | None, ...]
    """Size of a voxel of the first level along (z, y, x); None where not recorded."""
    time_step_s: float | None
    channels: tuple[Channel, ...]
    version: str
    """Of OME-NGFF."""
    own: Mapping[str, Any]
    """What this program has noted of it."""

    @property
    def name(self) -> str:
        """Without what tells the format."""
        return self.path.name.removesuffix(".zarr").removesuffix(".ome")


def picture(path: Path, run: ResolvedRun | None) -> Picture:
    """What lies in a group, which the run has written where one is known.

    Raises
    ------
    InputError, RefusedError
        It is no image, is not there, or its metadata are damaged.
    """
    node = persistently(lambda: read_node(LocalPlace(str(path))))
    found = multiscale_of(str(path), node.ome) if node else None
    if node is None or found is None:
        raise RefusedError(
            f"{str(path)!r} is no OME-Zarr image, or is not there any more. Expected an"
            " output of this program."
        )
    stages = {s.array.path: s for s in run.stages if s.array} if run else {}
    axes = axes_of(str(path), found, len(found.axes or ARRAY_AXES)) or ARRAY_AXES
    levels = list(_levels(path, found, stages, axes))
    first = levels[0].level
    sizes = sizes_of(str(path), found, found.datasets[0], axes)
    told, _ = channels_of(node.ome, levels[0].layout.shape[1])
    return Picture(
        path=path,
        levels=tuple(levels),
        scale_um=sizes.scale_um,
        time_step_s=sizes.time_step_s,
        channels=first.channels if first and "omero" not in node.ome else told,
        version=version_of(path),
        own=node.attributes.get("denoise_daisy", {}),
    )


def _levels(
    path: Path, found: Multiscale, stages: Mapping[Path, Stage], axes: str
) -> Iterator[StoredLevel]:
    scales = [_scale(str(path), dataset, axes) for dataset in found.datasets]
    for dataset, scale in zip(found.datasets, scales, strict=True):
        place = path / dataset.path
        try:
            array = persistently(partial(open_written, place))
        except Exception as error:
            raise RefusedError(
                f"The array {str(place)!r} can't be opened ({error}). Expected the"
                " levels that its OME metadata name."
            ) from error
        layout = Layout(
            shape=array.shape,
            dtype=array.dtype.name,
            chunks=array.chunks,
            shards=array.shards,
            compression_level=1,
            ome_version=V3 if (place / ARRAY_METADATA[V3]).exists() else V2,
            has_channels=len(stored_shape(array)) == len(ARRAY_AXES),
        )
        factor = tuple(round(scale[axis] / scales[0][axis]) for axis in AXES)
        yield StoredLevel(place, layout, factor, array, stages.get(place))


def _scale(path: str, dataset: Dataset, axes: str) -> dict[str, float]:
    """Of a level, by axis."""
    for step in dataset.transformations:
        if step.scale and len(step.scale) == len(axes) and min(step.scale) > 0:
            return dict(zip(axes, step.scale, strict=True))
    raise InputError(
        f"The OME metadata of {path!r} have no scale of the axes {axes} for the level"
        f" {dataset.path!r}. Expected an output of this program."
    )


def check_written(level: StoredLevel, box: Box, run: ResolvedRun | None) -> None:
    """Refuse a box that is not all there.

    Raises
    ------
    RefusedError
        With the blocks, or the files, that are missing.
    """
    if run and level.stage:
        stage = level.stage
        ledger = Ledger(
            run.run_dir.ledger(stage.name), run.id, stage.grid, stage.file_shape
        )
        persistently(ledger.refresh)
        parts = [
            slice(part.start // size, -(-part.stop // size))
            for part, size in zip(box, stage.grid.block_shape, strict=True)
        ]
        done = ledger.done.reshape(stage.grid.shape)[tuple(parts)]
        first = [part.start for part in parts]
        left = [[*map(int, at + first)] for at in np.argwhere(~done)]
        if left:
            raise _missing(
                f"{len(left)} of {done.size} blocks of {stage.name!r}"
                f" in {str(level.path)!r}",
                [f"block {block}" for block in left],
            )
    gone = [file for file in level.files(box) if not persistently(file.exists)]
    if gone:
        raise _missing(
            f"{len(gone)} files of {str(level.path)!r}", [str(file) for file in gone]
        )


def _missing(what: str, lines: list[str]) -> RefusedError:
    return RefusedError(
        "\n".join(
            [
                f"{what} are missing (t, z, y, x):"
                if lines[0].startswith("block")
                else f"{what} are missing:",
                *listing(lines),
                "Expected all that is exported to be done. Start the run again to"
                " compute them, or choose what is done with --roi.",
            ]
        )
    )


def shape_of(level: StoredLevel) -> Coordinate:
    """Voxels along ``(t, z, y, x)``."""
    return without_c(level.layout.shape)
