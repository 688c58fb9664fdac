"""Arrays of NumPy (``.npy``) as images, mapped into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import identity_of, status_of
from denoise_daisy.images.format import Format, only_scene
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.stored_array import (
    StoredArray,
    checked_dtype,
    guessed_axes,
    plain_channels,
)


@dataclass(frozen=True)
class NpyImage(StoredArray):
    """The array of an ``.npy`` file; picklable, mapped when it is first read."""

    def _voxels(self, part: tuple[slice, ...]) -> np.ndarray:
        found = self._mapped
        if found.shape != self.stored_shape or found.dtype.name != self.pixel_type:
            raise InputError(
                f"The array of {self.path!r} is now of {found.dtype.name} and shape"
                f" {found.shape}. Expected {self.pixel_type} and {self.stored_shape},"
                " as when the run was started; put that file back."
            )
        return found[part]

    @cached_property
    def _mapped(self) -> np.ndarray:
        return _mapped(self.path)

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the file as it is now; raises InputError if it is away."""
        return identity_of([self.path])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_mapped"}


def open_npy(source: OneInput) -> NpyImage:
    """The array of an ``.npy`` file.

    Raises
    ------
    InputError
        The file is absent, cut short, holds objects or is no image.
    """
    path = source.path
    status_of(path)  # says it plainly where there is none
    found = _mapped(path)
    pixel_type = checked_dtype(path, found.dtype)
    axes = guessed_axes(path, found.shape, source.axes)
    channels = dict(zip(axes, found.shape, strict=True)).get("c", 1)
    return NpyImage(
        path=path,
        part="",
        axes=axes,
        stored_shape=found.shape,
        pixel_type=pixel_type,
        selected=tuple(range(channels)),
        channels=plain_channels(channels),
        scale_um=(None, None, None),
        time_step_s=None,
        identity=identity_of([path]),
        warnings=(),
    )


def _mapped(path: str) -> np.ndarray:
    with _damage_told(path):
        # A plain array over the map: the map's own class is slow at every slice.
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """Turn what NumPy makes of a damaged file into an InputError."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"The input {path!r} can't be read as .npy"
            f" ({' '.join(str(error).split()) or type(error).__name__}). Expected a"
            " whole file of np.save, of numbers; copy or save it again."
        ) from error


FORMAT = Format(
    name="NumPy",
    endings=(".npy",),
    image=NpyImage,
    open=open_npy,
    scenes=only_scene,
    takes=frozenset({"axes"}),
    magic=(b"\x93NUMPY",),
    packages=("numpy",),
)
"""NumPy's files as a format among others."""
