"""What of a run is shown: layers of ``(t, z, y, x)``, a channel each, lazily read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.api.found import find_output
from denoise_daisy.api.opened import Output
from denoise_daisy.api.opened import open as open_output
from denoise_daisy.config import Config
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.image import Channel, Image
from denoise_daisy.images.input import volume_of
from denoise_daisy.images.stored_array import plain_channels
from denoise_daisy.monitoring.collect import run_status
from denoise_daisy.outputs.ome_groups import ome_of
from denoise_daisy.outputs.ome_zarr import open_so_far
from denoise_daisy.outputs.opened_image import OpenedImage, as_dask
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.lazy import lazy

if TYPE_CHECKING:
    import dask.array as da

RESIDUAL_PART = 4
"""Of the window of the image: what of a residual is shown on either side of 0."""

WHITE = "FFFFFF"


@dataclass(frozen=True, eq=False)
class Layer:
    """An image of one channel, or labels, as viewers take them."""

    name: str
    kind: Literal["image", "labels"]
    levels: "Sequence[da.Array]"
    """The full resolution ``(t, z, y, x)``, and its pyramid."""
    scale: tuple[float, ...]
    """Of t in seconds, of z, y and x in micrometers; 1 where not recorded."""
    units: tuple[str, ...]
    """Of `scale`: ``s``, ``um``, or empty."""
    translate: tuple[float, ...]
    """Where its first voxel lies, in the same."""
    window: tuple[float, float] = (0.0, 1.0)
    """Grey levels shown as black and as full colour."""
    color: str = WHITE
    """RRGGBB, hexadecimal."""
    is_visible: bool = True


def begin_of(layer: Layer, at: Mapping[str, int]) -> list[int]:
    """The voxel along t, z, y and x to begin at: that asked for, or a layer's nearest.

    Where nothing is asked for, the middle of the first time point.
    """
    begin = []
    for axis, n in zip(AXES, layer.levels[0].shape, strict=True):
        asked = at.get(axis, 0 if axis == "t" else n // 2)
        begin.append(min(max(0, asked), n - 1))
    return begin


def layers_of(path: Path, say: Callable[[str], None]) -> list[Layer]:
    """The raw image, the denoised, what was taken away, and what tasks have made.

    `path` is a config, an output or its run directory.  Where no run was
    started, the denoised image is computed where it is looked at; of one that has, what
    was not written yet is zeros.

    Raises
    ------
    InputError, RefusedError
        There is nothing to look at.
    """
    output = find_output(path)
    opened = _opened(output)
    if opened is None:
        if not path.is_file():
            raise InputError(
                f"{str(path)!r} is nothing to look at. Expected a config, an output"
                " (….zarr) or its run directory (….zarr.run)."
            )
        config = Config.load(path)
        source = open_image(config.input.one)
        raw = _raw(config, source)
        data = lazy(config, say=say)
        image = replace(raw, path=output, levels=(data,), sources=(data,))
        return list(_all_layers(image, raw, None, source.channels))
    if not _is_done(output):
        opened = _as_they_are(opened)
    return list(_all_layers(opened.image, opened.raw, opened))


def _opened(output: Path) -> Output | None:
    with suppress(InputError):
        return open_output(output)
    return None


def _is_done(output: Path) -> bool:
    """Whether all blocks are done of all that was begun; also where no run is left."""
    run_dir = RunDir.of_output(output)
    with suppress(RefusedError):
        if run_dir.run_file.is_file():
            stages = run_status(run_dir).stages
            return all(s.is_deleted or s.done == s.blocks for s in stages)
    return True


def _as_they_are(opened: Output) -> Output:
    """With zeros where nothing was written yet."""

    def so_far(image: OpenedImage) -> OpenedImage:
        (told,) = ome_of(image.path)["multiscales"]
        places = [image.path / dataset["path"] for dataset in told["datasets"]]
        sources = tuple(open_so_far(place) for place in places)
        levels = tuple(as_dask(s, s.shards or s.chunks) for s in sources)
        return replace(image, levels=levels, sources=sources)

    return replace(
        opened,
        image=so_far(opened.image),
        labels={name: so_far(image) for name, image in opened.labels.items()},
        tasks={name: so_far(image) for name, image in opened.tasks.items()},
    )


def _raw(config: Config, image: Image) -> OpenedImage:
    """The part of the input that is to be denoised."""
    roi = volume_of(config.input.one, image)
    begin = roi.begin + Coordinate(image.origin)
    t, z, y, x = roi.to_slices()
    plane = (1, image.shape[1], 1, *image.shape[3:])
    data = as_dask(image, plane, _voxels)[t, :, z, y, x]
    return OpenedImage(
        path=Path(config.input.one.path),
        axes="tczyx",
        scale_um=tuple(image.scale_um),
        time_step_s=image.time_step_s,
        origin=tuple(begin),
        shift=tuple(map(float, begin)),
        channels=tuple(channel.name for channel in image.channels),
        levels=(data,),
        sources=(data,),
    )


def _voxels(image: Image, key: tuple[slice, ...]) -> np.ndarray:
    return image[key]


def _all_layers(
    image: OpenedImage,
    raw: OpenedImage | None,
    opened: Output | None,
    channels: Sequence[Channel] = (),
) -> Iterator[Layer]:
    """The last is on top: raw, denoised, residual, images of tasks, labels.

    `channels` are those of the image where nothing was written that tells of them.
    """
    shown = _windows(image, raw, channels)
    if raw is not None:
        yield from _images("raw", raw, shown, is_visible=False)
    yield from _images("denoised", image, shown)
    if raw is not None:
        yield from _residuals(raw, image, shown)
    for name, made in opened.tasks.items() if opened else ():
        windows = _windows(made, None)
        yield from _images(name, made, windows, is_visible=False)
    labels = list(opened.labels.items()) if opened else []
    for name, made in labels:
        for layer in _of_channels(name, made, "labels"):
            yield replace(layer, is_visible=name == labels[-1][0])


Shown = list[tuple[tuple[float, float], str]]
"""By channel, the window and the colour."""


def _windows(
    image: OpenedImage, raw: OpenedImage | None, known: Sequence[Channel] = ()
) -> Shown:
    """What the group says, or what the raw plane in the middle suggests.

    Then the colours are those of the `known` channels.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        channels = ome_of(image.path)["omero"]["channels"]
        told = [(c["window"], str(c["color"])) for c in channels]
        return [((float(w["start"]), float(w["end"])), color) for w, color in told]
    source = raw or image
    t, _, z, _, _ = source.shape
    plane = np.asarray(source.data[t // 2, :, z // 2].compute())
    channels = known or plain_channels(len(plane))
    found: Shown = []
    for values, channel in zip(plane, channels, strict=True):
        low, high = np.nanpercentile(values, (0.1, 99.9))
        found.append(((float(low), float(max(high, low + 1))), channel.color))
    return found


def _images(
    name: str, image: OpenedImage, shown: Shown, *, is_visible: bool = True
) -> Iterator[Layer]:
    layers = _of_channels(name, image, "image")
    for layer, (window, color) in zip(layers, shown, strict=False):
        yield replace(layer, window=window, color=color, is_visible=is_visible)


def _residuals(raw: OpenedImage, image: OpenedImage, shown: Shown) -> Iterator[Layer]:
    """What the denoiser took away, about 0."""
    chunks = image.data.chunks
    taken = raw.data.rechunk(chunks).astype(np.float32) - image.data
    residual = replace(image, levels=(taken,), sources=(taken,))
    for layer, (window, _) in zip(
        _of_channels("residual", residual, "image"), shown, strict=False
    ):
        limit = (window[1] - window[0]) / RESIDUAL_PART
        yield replace(layer, window=(-limit, limit), is_visible=False)


def _of_channels(
    name: str, image: OpenedImage, kind: Literal["image", "labels"]
) -> Iterator[Layer]:
    """A layer for each channel, without axis c."""
    count = image.data.shape[1]
    sizes = dict(zip(image.axes, image.scale, strict=True))
    units = dict(zip(image.axes, image.units, strict=True))
    scale = tuple(sizes[axis] for axis in AXES)
    for c in range(count):
        own = image.channels[c] if c < len(image.channels) else str(c)
        yield Layer(
            name=f"{name}: {own}" if count > 1 else name,
            kind=kind,
            levels=[level[:, c] for level in image.levels],
            scale=scale,
            units=tuple(units[axis] for axis in AXES),
            translate=tuple(o * s for o, s in zip(image.shift, scale, strict=True)),
        )
