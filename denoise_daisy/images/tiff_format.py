"""TIFF as a format among others."""

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import identity_of
from denoise_daisy.images.format import Format, SceneName
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.stored_array import (
    checked_axes,
    checked_dtype,
    guessed_axes,
)
from denoise_daisy.images.tiff import TiffImage, paths_of
from denoise_daisy.images.tiff_original import original_of
from denoise_daisy.images.tiff_series import Series, names_of, read_series


def _open(source: OneInput) -> TiffImage:
    path = source.path
    found = read_series(path, source.scene)
    axes = _axes(path, found, source.axes)
    count = dict(zip(axes, found.shape, strict=True)).get("c", 1)
    return TiffImage(
        path=path,
        part=found.name,
        axes=axes,
        stored_shape=found.shape,
        pixel_type=checked_dtype(path, found.dtype),
        selected=tuple(range(count)),
        channels=found.facts.channels(count),
        scale_um=found.facts.scale_um,
        time_step_s=found.facts.time_step_s,
        identity=identity_of(paths_of(path, found.siblings)),
        warnings=found.notes,
        siblings=found.siblings,
        byte_order=">" if found.big_endian else "<",
        plain=found.plain,
        page_ndim=found.page_ndim,
        pages=found.pages,
    )


def _axes(path: str, found: Series, asked: str | None) -> str:
    """The axes of a series, as the config says, else the file.

    Raises
    ------
    InputError
        They can't be known, or are not those of an image.
    """
    if asked is not None:
        return checked_axes(path, asked, found.shape)
    axes = found.axes.lower()
    if "s" in axes and (found.rgb or "c" in axes):
        raise InputError(
            f"The image of {path!r} is RGB, of axes {found.axes!r}: colours for the eye"
            " and no channels of a microscope. Expected grey values, each channel for"
            " itself; to denoise the colours as channels, name the axes by input.axes,"
            f" such as {axes.replace('c', '').replace('s', 'c')[-5:]!r}."
        )
    axes = axes.replace("s", "c")
    if set(axes) <= set("tczyx"):
        return checked_axes(path, axes, found.shape)
    return guessed_axes(path, found.shape, None)


def _scenes(path: str) -> tuple[SceneName, ...]:
    names = names_of(path)
    if len(names) == 1:
        return (SceneName(None, names[0]),)
    return tuple(SceneName(i, name) for i, name in enumerate(names))


FORMAT = Format(
    name="TIFF",
    endings=(".tif", ".tiff", ".btf", ".ome.tif", ".ome.tiff", ".ome.btf", ".lsm"),
    image=TiffImage,
    open=_open,
    scenes=_scenes,
    takes=frozenset({"scene", "axes"}),
    magic=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    packages=("tifffile", "imagecodecs"),
    original=original_of,
)
