"""Zarrs written for tests, by other people's libraries."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import zarr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses what it deprecates
    from ome_zarr import writer
    from ome_zarr.format import FormatV04

UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


def write_04(
    path: Path,
    voxels: np.ndarray,
    axes: str = "tczyx",
    chunks: Sequence[int] = (1, 1, 3, 16, 32),
    levels: Sequence[int] = (),
    scale: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
) -> Path:
    """An image of OME-NGFF 0.4 and Zarr 2, by ome-zarr-py; levels are s0, s1, ..."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer.write_image(
            voxels,
            group,
            fmt=FormatV04(),
            axes=axes,
            scale_factors=list(levels),
            storage_options={"chunks": tuple(chunks)},
            scale=dict(scale) if scale else None,
            axes_units=dict(units) if units else None,
        )
    return path


def write_05(
    path: Path,
    voxels: np.ndarray,
    axes: str = "tczyx",
    chunks: Sequence[int] = (1, 2, 2, 16, 16),
    **more: Any,
) -> Path:
    """An image of OME-NGFF 0.5 and Zarr 3, by ngff-zarr; its level is scale0/image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = ngff_zarr.to_ngff_image(voxels, dims=list(axes), **more)
        levels = ngff_zarr.to_multiscales(
            image, scale_factors=[], chunks=dict(zip(axes, chunks, strict=True))
        )
        ngff_zarr.to_ngff_zarr(path, levels, version="0.5", consolidate_metadata=False)
    return path


def write_plain(path: Path, voxels: np.ndarray, **more: Any) -> Path:
    """A bare array, of Zarr 3 unless it is said otherwise, by zarr itself."""
    asked = {"chunks": (1,) * (voxels.ndim - 2) + (8, 8)} | more
    zarr.create_array(path, data=voxels, **asked)
    return path


def write_plate(path: Path, wells: Sequence[str], fields: Sequence[np.ndarray]) -> Path:
    """A plate of 0.4, by ome-zarr-py; each of its wells has as many of the fields."""
    plate = zarr.open_group(path, mode="w", zarr_format=2)
    rows, columns = (sorted({well.split("/")[i] for well in wells}) for i in (0, 1))
    writer.write_plate_metadata(plate, rows, columns, list(wells), fmt=FormatV04())
    each = len(fields) // len(wells)
    for i, well in enumerate(wells):
        group = plate.require_group(well)
        names = [str(number) for number in range(each)]
        writer.write_well_metadata(group, names, fmt=FormatV04())
        for name, voxels in zip(names, fields[i * each :], strict=False):
            write_04(path / well / name, voxels)
    return path
