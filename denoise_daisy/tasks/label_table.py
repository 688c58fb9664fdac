"""The table of a label task: its objects, measured, in a file."""

import io
from collections.abc import Iterator

import numpy as np

from denoise_daisy.blockwise.sources import Source
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import Block
from denoise_daisy.images.image import Image
from denoise_daisy.outputs.object_table import LAYOUT, Format, Frame, Objects, to_file
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
    frame = _frame(builder.image, mask, union)
    names = [channel.name for channel in image.channels]

    def parts() -> Iterator[Objects]:
        for index in union.grid.indices():
            with np.load(io.BytesIO(union.read_file(index))) as archive:
                for c, channel in enumerate(mask.channels):
                    yield Objects(index[0], c, channel.name, archive[f"objects{c}"])

    def compute(_: Block) -> bytes:
        return to_file(parts(), frame, names, image.dtype, kind)

    name = f"{task}{TABLE}"
    grid = builder.cutting.grid([], union.transform, union.grid.volume.shape)
    more = {
        "table": kind,
        "columns": LAYOUT,
        "scale_um": list(frame.scale_um),
        "first_voxel": list(frame.first),
        "time_step_s": frame.time_step_s,
        "channel_names": [[channel.name for channel in mask.channels], names],
    }
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


def _frame(image: Image, mask: Source, union: Stage) -> Frame:
    """Where the label image lies, as its OME metadata tell it."""
    begin = union.transform.to_image(union.grid.volume).begin
    factors = union.transform.factor[1:]
    # A voxel lies at its centre: that of its cell, or of the one that it was.
    shifts = [0.0 if mask.method == "nearest" else (f - 1) / 2 for f in factors]
    lies = zip(begin[1:], image.origin[1:], shifts, factors, strict=True)
    sizes = zip(image.scale_um, factors, strict=True)
    return Frame(
        scale_um=tuple(size * factor if size else None for size, factor in sizes),
        first=tuple((b + o + shift) / factor for b, o, shift, factor in lies),
        time_step_s=image.time_step_s,
        first_t=int(begin[0] + image.origin[0]),
    )
