"""The table of a label task: its objects, measured, in a file."""

import io
from collections.abc import Iterator

import numpy as np

from denoise_daisy.blockwise.sources import Source
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.outputs.object_table import Format, to_file
from denoise_daisy.tasks.builder import StageBuilder
from denoise_daisy.tasks.places import TABLE


def table_stage(
    task: str,
    kind: Format,
    builder: StageBuilder,
    mask: Source,
    image: Source,
    union: Stage,
) -> Stage:
    """The stage that writes it, once `union` has joined the pieces of `mask`.

    The objects were measured in `image`.
    """
    volume = union.grid.volume
    factors, origin = union.transform.factor[1:], union.transform.origin[1:]
    sizes = zip(builder.image.scale_um, factors, strict=True)
    scale_um = [size * factor if size else None for size, factor in sizes]
    shift = [
        (o + (0.0 if mask.method == "nearest" else (f - 1) / 2)) / f
        for o, f in zip(origin, factors, strict=True)
    ]

    def parts() -> Iterator[tuple[int, str, np.ndarray]]:
        for index in union.grid.indices():
            with np.load(io.BytesIO(union.read_file(index))) as archive:
                for i, channel in enumerate(mask.channels):
                    t = union.transform.origin[0] + volume.begin[0] + index[0]
                    yield t, channel.name, archive[f"objects{i}"]

    def compute(_: Block) -> bytes:
        names = [channel.name for channel in image.channels]
        return to_file(parts(), names, scale_um, volume.begin[1:], shift, kind)

    name = f"{task}{TABLE}"
    grid = builder.cutting.grid([], union.transform, volume.shape)
    more = {"table": kind, "scale_um": scale_um, "shift": shift}
    return Stage(
        name=name,
        task=task,
        grid=grid,
        sources=(),
        after=(union.name,),
        compute=compute,
        parameters={**union.parameters, **more},
        target=builder.places.file(name, grid, builder.places.beside(f"{task}.{kind}")),
        transform=union.transform,
    )
