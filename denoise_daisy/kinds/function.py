"""Function: code of the user's on each block."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from denoise_daisy.arrays import Channel
from denoise_daisy.config import Function, by_axis
from denoise_daisy.errors import InputError
from denoise_daisy.functions import BlockContext, UserFunction, tear_down
from denoise_daisy.geometry import FULL_RESOLUTION, BlockGrid, Frame
from denoise_daisy.kinds.site import Site, facts_of
from denoise_daisy.stages import ONLY_BLOCK, Block, Level, Source, Stage, without_c

WRITTEN = ("uint8", "uint16", "uint32", "float32")

INSTEAD = {"b": "uint8", "f": "float32", "i": "uint32", "u": "uint32"}
"""Types written in place of others, by numpy's letter for the kind."""

PROBE = {"z": 16, "y": 64, "x": 64}
"""Voxels of the block that a function is tried on; one time point."""

WHITE = "FFFFFF"


def lay_out(task: Function, site: Site) -> None:
    """One stage: an image of its own, labels, or values for other tasks."""
    products = {name: site.product(task, name) for name in task.inputs}
    sources = {n: p.source for n, p in products.items() if p.source is not None}
    frame = _common_frame(task, sources)
    volume = site.volume_in(frame)
    shape = site.shape_of_blocks(task, task.name, volume, task.span)
    context = Coordinate(by_axis(task.blocks.context, "tzyx", dict.fromkeys("tzyx", 0)))
    grid = site.grid(list(sources.values()), frame, shape, context)
    user = _user_function(task, site)
    caller = _Caller(
        user=user,
        site=site,
        frame=frame,
        image_roi=grid.image,
        names=tuple(sources),
        values={
            name: partial(product.stage.load, ONLY_BLOCK)
            for name, product in products.items()
            if product.source is None and product.stage
        },
    )
    facts = {
        **user.code,
        "block_shape": list(shape),
        "context": list(context),
    }
    common: dict[str, Any] = {
        "name": task.name,
        "task": task.name,
        "grid": grid,
        "sources": tuple(sources.values()),
        "after": tuple(name for p in products.values() for name in p.after),
        "frame": frame,
        "read_write_conflict": task.read_write_conflict,
    }
    if task.output == "values":
        stage = Stage(
            **common,
            compute=caller.values_of,
            facts=facts_of(task, products, None, **facts),
            file=site.work_folder(task.name) / "values.npy",
            checksums=site.checksums_of_files(task.name, grid),
        )
    else:
        first = sources[task.inputs[0]]
        base = facts_of(task, products, None, **facts)
        found = _result_type(task, site, caller, grid, sources, base)
        layout = site.layout(volume, found["channels"], found["dtype"], shape)
        group = site.beside(f"{task.name}.zarr")
        if task.output == "labels":
            group = site.label_group(task.name)
        channels = _channels(task, first, found["channels"])
        target = site.level(
            task.name, group, layout, channels, frame=frame, method=first.method
        )
        stage = Stage(
            **common,
            compute=caller.with_written(target),
            facts=facts_of(task, products, layout, **facts),
            target=target,
            settled=found,
        )
    site.add(stage)
    site.offer(task.name, stage)


def _user_function(task: Function, site: Site) -> UserFunction:
    """The function, with the code that it has or, in a run, was started with."""
    user = UserFunction(
        task.function, task.setup, task.teardown, task.folder, task.params, {}
    )
    if site.is_restored:
        facts = site.recorded[task.name]["fingerprint"]
        code = {k: v for k, v in facts.items() if k.startswith(("code ", "package "))}
    else:
        user.check()
        code = user.code_now()
    return replace(user, code=code)


@dataclass(frozen=True)
class _Caller:
    """The user's function as the computation of a stage."""

    user: UserFunction
    site: Site
    frame: Frame
    image_roi: Roi
    names: tuple[str, ...]
    """Of the arrays that a block has."""
    values: Mapping[str, Callable[[], bytes]]
    """How the values of other tasks are read."""

    def with_written(self, target: Level) -> Callable[[Block], np.ndarray]:
        """The function, able to look at what the stage has written."""

        def written(roi: Roi) -> np.ndarray:
            return target.read_so_far(roi.intersect(target.extent))

        return lambda block: self(block, written)

    def values_of(self, block: Block) -> bytes:
        """The function's small array as a file."""
        buffer = io.BytesIO()
        np.save(buffer, self(block, _nothing), allow_pickle=False)
        return buffer.getvalue()

    def __call__(
        self, block: Block, written: Callable[[Roi], np.ndarray]
    ) -> np.ndarray:
        # Before its setup is called: its code may have changed.
        call = self.user.call
        image = self.site.image
        inputs = dict(zip(self.names, block.arrays, strict=True))
        inputs |= {n: np.load(io.BytesIO(load())) for n, load in self.values.items()}
        context = BlockContext(
            roi=block.read_roi,
            write_roi=block.write_roi,
            image_roi=self.image_roi,
            voxel_size_um=tuple(
                size * factor if size else None
                for size, factor in zip(
                    image.scale_um, self.frame.factor[1:], strict=True
                )
            ),
            time_step_s=image.time_step_s,
            factor=tuple(self.frame.factor),
            params=self.user.params,
            state=self.user.state,
            inputs=inputs,
            written=written,
        )
        return np.asarray(call(block.arrays[0], context))


def _nothing(_: Roi) -> np.ndarray:
    raise ValueError("this task writes no array that could be read")


def _common_frame(task: Function, sources: Mapping[str, Source]) -> Frame:
    if task.inputs[0] not in sources:
        raise InputError(
            f"Task {task.name!r} has the values of {task.inputs[0]!r} as its first"
            " input. Expected an image first; its blocks are what the function gets."
        )
    frames = {source.frame for source in sources.values()}
    if len(frames) > 1:
        raise InputError(
            f"Task {task.name!r} reads images of different resolutions"
            f" ({', '.join(sources)}). Expected inputs of one level."
        )
    return frames.pop()


def _channels(task: Function, first: Source, count: int) -> tuple[Channel, ...]:
    if count == len(first.channels):
        return first.channels
    return tuple(Channel(f"{task.name} {i}", WHITE) for i in range(count))


def _result_type(
    task: Function,
    site: Site,
    caller: _Caller,
    grid: BlockGrid,
    sources: Mapping[str, Source],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Type and channels of the result: declared, found before, or found by trying.

    What was found before holds as long as all other `facts` are the same.
    """
    found: dict[str, Any] = {"dtype": task.dtype, "channels": task.channels}
    if None not in found.values():
        return found
    kept = site.recorded.get(task.name, {})
    before = kept.get("fingerprint", {})
    same = all(before.get(k) == v for k, v in facts.items() if k not in found)
    if kept.get("settled") and (same or site.is_restored):
        return {key: value or kept["settled"][key] for key, value in found.items()}
    if site.is_restored:
        # Of a task that has become another and is not asked for: nothing is there.
        return {"dtype": task.dtype or "float32", "channels": task.channels or 1}
    if caller.values:
        raise InputError(
            f"Task {task.name!r} reads the values of {', '.join(caller.values)}, which"
            " are not there yet, so that its function can't be tried. Declare its dtype"
            " and channels."
        )
    result = _tried(task, site, caller, grid, sources)
    dtype = task.dtype or result.dtype.name
    if dtype not in WRITTEN:
        dtype = INSTEAD.get(result.dtype.kind, dtype)
    if dtype not in WRITTEN or (task.output == "labels" and dtype == "float32"):
        wanted = "whole numbers" if task.output == "labels" else "numbers"
        raise InputError(
            f"The function {task.function!r} of task {task.name!r} returns"
            f" {result.dtype.name}. Expected {wanted}: {', '.join(WRITTEN)}."
        )
    return {"dtype": dtype, "channels": task.channels or result.shape[1]}


def _tried(
    task: Function,
    site: Site,
    caller: _Caller,
    grid: BlockGrid,
    sources: Mapping[str, Source],
) -> np.ndarray:
    """What the function makes of a small block from the middle of the image."""
    extent = grid.volume.shape
    shape = Coordinate(
        n if axis in task.span else min(n, PROBE.get(axis, 1))
        for axis, n in zip("tzyx", extent, strict=True)
    )
    roi = Roi(grid.volume.begin + (extent - shape) // 2, shape)
    arrays = tuple(_stand_in(site, source, roi) for source in sources.values())
    block = Block((0, 0, 0, 0), roi, roi, arrays)
    channels = task.channels or 1

    def written(part: Roi) -> np.ndarray:
        t, z, y, x = part.intersect(roi).shape
        return np.zeros((t, channels, z, y, x), task.dtype or "uint32")

    try:
        result = caller(block, written)
        tear_down()
    except Exception as error:
        raise InputError(
            f"The function {task.function!r} of task {task.name!r} failed on a block of"
            f" {'x'.join(map(str, arrays[0].shape))} voxels (t c z y x) from the middle"
            f" of the image: {type(error).__name__}: {error}. Correct it; or, if it"
            " only works on other blocks, declare the task's dtype and channels."
        ) from error
    if result.ndim != 5 or without_c(result.shape) != shape:
        raise InputError(
            f"The function {task.function!r} of task {task.name!r} returns an array of"
            f" shape {result.shape} for a block of {arrays[0].shape} (t c z y x)."
            " Expected five axes, and along t, z, y and x as many voxels as it got."
        )
    return result


def _stand_in(site: Site, source: Source, roi: Roi) -> np.ndarray:
    """Voxels like those of a source that is not there yet: the raw image's."""
    channels = len(source.channels)
    t, z, y, x = roi.shape
    if source.frame == FULL_RESOLUTION and channels == site.image.shape[1]:
        ts, zs, ys, xs = roi.to_slices()
        return site.image[ts, slice(0, channels), zs, ys, xs].astype(source.dtype)
    return np.zeros((t, channels, z, y, x), source.dtype)
