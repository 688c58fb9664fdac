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
    from ome_zarr import format as ome_format
    from ome_zarr import writer

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
            fmt=ome_format.FormatV04(),
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
