"""HDF5 datasets as images."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import identity_of, status_of
from denoise_daisy.images.format import Format, only_scene
from denoise_daisy.images.hdf5_file import (
    ENDINGS,
    MAGIC,
    check_filters,
    damage_told,
    find_dataset,
    is_within_hdf5,
    opened_file,
    other_files,
    split_path,
    unwritten,
)
from denoise_daisy.images.input import OneInput
from denoise_daisy.images.stored_array import (
    IMAGE_AXES,
    StoredArray,
    checked_dtype,
    guessed_axes,
    plain_channels,
)

WORDS = {"time": "t", "channel": "c", "channels": "c"}
"""Axes whose names are written out."""


@dataclass(frozen=True)
class Hdf5Image(StoredArray):
    """A dataset of an HDF5 file; picklable, opened when it is first read."""

    others: tuple[str, ...]
    """Files besides `path` that hold its voxels."""

    def _voxels(self, part: tuple[slice, ...]) -> np.ndarray:
        with damage_told(self.path):
            self._check_others()
            voxels: np.ndarray = self._dataset[part]
            return voxels

    def _check_others(self) -> None:
        """Those of a virtual dataset would be zeros if they were away."""
        for path in self.others:
            if not Path(path).is_file():
                raise InputError(
                    f"{path!r}, which holds voxels of {self.path!r}, is not there any"
                    " more. Expected it where it was; put it back."
                )

    @cached_property
    def _dataset(self) -> Any:
        dataset = opened_file(self.path)[self.part]
        check_filters(self.path, dataset)
        if (dataset.shape, dataset.dtype.name) != (self.stored_shape, self.pixel_type):
            raise InputError(
                f"The dataset {self.part!r} of {self.path!r} is now of"
                f" {dataset.dtype.name} and shape {dataset.shape}. Expected"
                f" {self.pixel_type} and {self.stored_shape}, as when the run was"
                " started; put that file back."
            )
        return dataset

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the files as they are now; InputError if one is away."""
        return identity_of([self.path, *self.others])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_dataset"}


def open_hdf5(source: OneInput) -> Hdf5Image:
    """The dataset that a path names: "run.h5", "run.h5/volumes/raw".

    Raises
    ------
    InputError
        File or dataset are absent, damaged, or no image.
    """
    file, part = split_path(source.path)
    status_of(file)  # says it plainly where there is none
    with damage_told(file), opened_file(file) as opened:
        name, dataset = find_dataset(file, opened, part)
        shape = tuple(dataset.shape or ())
        pixel_type = checked_dtype(file, dataset.dtype, f" {name}")
        axes = source.axes or _named_axes(dataset, len(shape))
        axes = guessed_axes(source.path, shape, axes)
        others = other_files(file, dataset)
        check_filters(file, dataset)
        absent = unwritten(dataset)
        scale = _scale_um(dataset)
    channels = dict(zip(axes, shape, strict=True)).get("c", 1)
    warning = (
        f"Of the dataset {name!r} {absent} were never written and are read as its fill"
        " value. Expected a finished file; if it was cut short, set input.roi."
    )
    return Hdf5Image(
        path=file,
        part=name,
        axes=axes,
        stored_shape=shape,
        pixel_type=pixel_type,
        selected=tuple(range(channels)),
        channels=plain_channels(channels),
        scale_um=scale,
        time_step_s=None,
        identity=identity_of([file, *others]),
        warnings=(warning,) if absent else (),
        others=others,
    )


def _named_axes(dataset: Any, ndim: int) -> str | None:
    """What the file says: in vigra's tags, dimension labels, or `axes`; else None."""
    for names in (
        _tagged(dataset.attrs.get("axistags")),
        [dim.label for dim in dataset.dims],
        _listed(dataset.attrs.get("axes")),
    ):
        letters = [WORDS.get(name.lower(), name.lower()) for name in names]
        if len(letters) == ndim and set(letters) <= set(IMAGE_AXES):
            return "".join(letters)
    return None


def _tagged(tags: Any) -> list[str]:
    """The axes of an attribute of vigra's, which ilastik writes as well."""
    with suppress(ValueError, TypeError, KeyError):
        return [str(axis["key"]) for axis in json.loads(tags)["axes"]]
    return []


def _listed(axes: Any) -> list[str]:
    """The axes of an attribute that is a word, or an array of letters."""
    names = axes if isinstance(axes, str | bytes) else np.ravel(axes).tolist()
    if isinstance(names, bytes):
        names = names.decode(errors="replace")
    return [
        each.decode(errors="replace") if isinstance(each, bytes) else str(each)
        for each in names
    ]


def _scale_um(dataset: Any) -> tuple[float | None, ...]:
    """What ImageJ's plugin and ilastik call so: micrometers along z, y, x."""
    sizes: Sequence[Any] = np.ravel(dataset.attrs.get("element_size_um", ())).tolist()
    if len(sizes) != 3:
        return None, None, None
    return tuple(
        float(n) if isinstance(n, int | float) and math.isfinite(n) and n > 0 else None
        for n in sizes
    )


FORMAT = Format(
    name="HDF5",
    endings=ENDINGS,
    image=Hdf5Image,
    open=open_hdf5,
    scenes=only_scene,
    takes=frozenset({"axes"}),
    magic=(MAGIC,),
    owns=is_within_hdf5,
    packages=("h5py",),
)
"""HDF5 as a format among others."""
