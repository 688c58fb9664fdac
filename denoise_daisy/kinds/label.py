"""Label: connected components of the whole volume, right across block borders.

Three stages.  The *pieces*: each block is labelled alone, and its faces and a table of
its pieces are kept.  The *union*: for each time point, pieces that touch across blocks
become objects, which are numbered.  The labels: each block is labelled again, in the
same way, and its pieces get their objects' ids.  Voxels are in memory a block at a
time; of the rest, only faces and tables.
"""

import io
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from funlib.geometry import Coordinate
from numpy.lib.recfunctions import repack_fields

from denoise_daisy.config import Label
from denoise_daisy.errors import InputError
from denoise_daisy.kinds.site import Product, Site, facts_of
from denoise_daisy.labelling import (
    Pieces,
    Union,
    forward_neighbours,
    from_bytes,
    label_block,
    objects,
    pieces_of,
    to_bytes,
    touching,
)
from denoise_daisy.object_table import check_format, to_file
from denoise_daisy.ome_zarr import Layout
from denoise_daisy.stages import Block, Source, Stage

Position = tuple[int, ...]
"""Of a block within its time point, (z, y, x)."""

Archives = Mapping[Position, Callable[[], bytes]]
"""How the file of each block's pieces is read."""


def lay_out(task: Label, site: Site) -> None:
    """The stages NAME.pieces, NAME.union and NAME, and NAME.table if asked for."""
    product, mask = site.source(task, task.input)
    inputs, sources = {task.input: product}, [mask]
    if task.table:
        image_product, image = site.source(task, task.intensity)
        if image.frame != mask.frame:
            raise InputError(
                f"Task {task.name!r} labels {task.input!r} and measures"
                f" {task.intensity!r}, which have different resolutions. Expected an"
                " intensity image of the mask's."
            )
        check_format(task.table, task.name)
        inputs[task.intensity] = image_product
        sources.append(image)
    pieces = _pieces(task, site, inputs, sources)
    union = _union(task, site, inputs, pieces)
    labels = _labels(task, site, product, mask, pieces, union)
    site.add(pieces, union, labels)
    if task.table:
        site.add(_table(task, site, sources, union))
    site.offer(task.name, labels)


def _pieces(
    task: Label, site: Site, inputs: dict[str, Product], sources: list[Source]
) -> Stage:
    frame = sources[0].frame
    volume = site.volume_in(frame)
    shape = site.shape_of_blocks(task, f"{task.name}.pieces", volume)
    shape = Coordinate(1, *shape[1:])

    def compute(block: Block) -> bytes:
        mask, *images = block.arrays
        begin = (block.write_roi.begin - volume.begin)[1:]
        image = images[0][0] if images else None
        pieces = []
        for channel in mask[0]:
            labels, count = label_block(channel, task.connectivity)
            pieces.append(pieces_of(labels, count, begin, volume.shape[1:], image))
        return _packed(pieces)

    name, grid = f"{task.name}.pieces", site.grid([], frame, shape)
    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=tuple(sources),
        after=tuple(name for p in inputs.values() for name in p.after),
        compute=compute,
        facts=_facts(task, inputs, shape, unused=("min_voxels",)),
        folder=site.work_folder(name),
        checksums=site.checksums_of_files(name, grid),
        frame=frame,
    )


def _union(task: Label, site: Site, inputs: dict[str, Product], pieces: Stage) -> Stage:
    volume = pieces.grid.volume
    channels = len(pieces.sources[0].channels)

    def compute(block: Block) -> bytes:
        archives = {
            position: partial(pieces.load, (block.index[0], *position))
            for position in itertools.product(*map(range, pieces.grid.shape[1:]))
        }
        results = [_joined(task, archives, channel) for channel in range(channels)]
        return _npz(
            {
                f"{name}{channel}": array
                for channel, result in enumerate(results)
                for name, array in result.items()
            }
        )

    name = f"{task.name}.union"
    grid = site.grid([], pieces.frame, Coordinate(1, *volume.shape[1:]))
    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=(),
        after=(pieces.name,),
        compute=compute,
        facts=_facts(task, inputs, pieces.grid.block_shape),
        folder=site.work_folder(name),
        checksums=site.checksums_of_files(name, grid),
        frame=pieces.frame,
    )


def _joined(task: Label, archives: Archives, channel: int) -> dict[str, np.ndarray]:
    """Ids of all pieces of a time point and channel, block after block.

    ``starts`` is the first piece of each block, in C order; ``ids`` the id of each
    piece; ``objects`` the objects' table, if one is asked for.
    """
    tables = [_unpacked(load(), channel).table for load in archives.values()]
    if not task.table:
        # A sixth of the memory, where there may be millions of pieces.
        tables = [repack_fields(table[["first", "voxels"]]) for table in tables]
    starts = np.cumsum([0, *map(len, tables)])
    table = np.concatenate(tables)
    del tables
    first = dict(zip(archives, starts, strict=False))
    union = Union(len(table))
    for a, b, pairs in _contacts(archives, channel, task.connectivity):
        union.add(pairs - 1 + (first[a], first[b]))
    ids, table = objects(table, union.roots(), task.min_voxels)
    result = {"starts": starts, "ids": ids}
    return result | {"objects": table} if task.table else result


def _contacts(
    archives: Archives, channel: int, connectivity: int
) -> Iterator[tuple[Position, Position, np.ndarray]]:
    """Pairs of blocks, and of their pieces, that touch; few blocks are held at once."""
    held: OrderedDict[Position, Pieces] = OrderedDict()
    offsets = forward_neighbours(connectivity)
    planes = [position for position in archives if position[0] == 0]
    rows = [position for position in planes if position[1] == 0]
    for b, load in archives.items():
        held[b] = _unpacked(load(), channel)
        for offset in offsets:
            a = tuple(i - d for i, d in zip(b, offset, strict=True))
            if a in held:
                yield a, b, touching(held[a], held[b], offset, connectivity)
        # The block before this one in every direction is the last still wanted.
        if len(held) > len(planes) + len(rows) + 1:
            held.popitem(last=False)


def _labels(
    task: Label, site: Site, product: Product, mask: Source, pieces: Stage, union: Stage
) -> Stage:
    frame, shape = pieces.frame, pieces.grid.block_shape
    layout = site.layout(pieces.grid.volume, len(mask.channels), "uint32", shape)

    @lru_cache(maxsize=2)
    def ids_of(t: int, channel: int, _: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ids of a union, which was written at some time."""
        with np.load(io.BytesIO(union.load((t, 0, 0, 0)))) as archive:
            return archive[f"starts{channel}"], archive[f"ids{channel}"]

    def compute(block: Block) -> np.ndarray:
        t, *position = block.index
        place = int(np.ravel_multi_index(position, pieces.grid.shape[1:]))
        file = union.outputs(union.grid, (t, 0, 0, 0))[0]
        result = np.empty(block.arrays[0].shape, np.uint32)
        for channel, voxels in enumerate(block.arrays[0][0]):
            starts, ids = ids_of(t, channel, file.stat().st_mtime_ns)
            labels, count = label_block(voxels, task.connectivity)
            own = ids[starts[place] : starts[place + 1]]
            if len(own) != count:
                raise ValueError(
                    f"the block has {count} pieces now and had {len(own)} before;"
                    f" delete {union.place} and start again with --overwrite"
                )
            result[0, channel] = np.concatenate(([0], own)).astype(np.uint32)[labels]
        return result

    return Stage(
        name=task.name,
        task=task.name,
        grid=site.grid([], frame, shape),
        sources=(mask,),
        after=(*product.after, union.name),
        compute=compute,
        facts=_facts(task, {task.input: product}, shape, layout),
        target=site.level(
            task.name,
            site.label_group(task.name),
            layout,
            mask.channels,
            frame=frame,
            method=mask.method,
        ),
        frame=frame,
    )


def _table(task: Label, site: Site, sources: list[Source], union: Stage) -> Stage:
    assert task.table, "it was asked for"  # noqa: S101
    kind, volume = task.table, union.grid.volume
    mask, image = sources
    factors, origin = union.frame.factor[1:], union.frame.origin[1:]
    sizes = zip(site.image.scale_um, factors, strict=True)
    scale_um = [size * factor if size else None for size, factor in sizes]
    shift = [
        (o + (0.0 if mask.method == "nearest" else (f - 1) / 2)) / f
        for o, f in zip(origin, factors, strict=True)
    ]

    def parts() -> Iterator[tuple[int, str, np.ndarray]]:
        for index in union.grid.indices():
            with np.load(io.BytesIO(union.load(index))) as archive:
                for i, channel in enumerate(mask.channels):
                    t = union.frame.origin[0] + volume.begin[0] + index[0]
                    yield t, channel.name, archive[f"objects{i}"]

    def compute(_: Block) -> bytes:
        names = [channel.name for channel in image.channels]
        return to_file(parts(), names, scale_um, volume.begin[1:], shift, kind)

    name = f"{task.name}.table"
    grid = site.grid([], union.frame, volume.shape)
    return Stage(
        name=name,
        task=task.name,
        grid=grid,
        sources=(),
        after=(union.name,),
        compute=compute,
        facts={**union.facts, "table": kind, "scale_um": scale_um, "shift": shift},
        file=site.beside(f"{task.name}.{kind}"),
        checksums=site.checksums_of_files(name, grid),
        frame=union.frame,
    )


def _facts(
    task: Label,
    inputs: dict[str, Product],
    shape: Coordinate,
    layout: Layout | None = None,
    unused: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What decides the bytes; pieces belong to blocks: cut otherwise, they are others.

    What is measured is among the inputs; the table's format matters to itself only.
    """
    facts = facts_of(task, inputs, layout, block_shape=list(shape))
    without = {"table", "intensity", *unused}
    return {name: fact for name, fact in facts.items() if name not in without}


def _packed(pieces: list[Pieces]) -> bytes:
    """The pieces of each channel in one file."""
    return _npz(
        {
            f"channel{i}": np.frombuffer(to_bytes(part), np.uint8)
            for i, part in enumerate(pieces)
        }
    )


def _unpacked(data: bytes, channel: int) -> Pieces:
    with np.load(io.BytesIO(data)) as archive:
        return from_bytes(archive[f"channel{channel}"].tobytes())


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
