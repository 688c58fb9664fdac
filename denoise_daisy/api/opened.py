"""Opening an output: its image, and what its tasks have made, by name."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from glob import escape as glob_escape
from pathlib import Path
from typing import Any

import numpy as np
from funlib.geometry import Coordinate

from denoise_daisy.api.found import AnyRun, find_output
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.images.image import Image
from denoise_daisy.outputs.object_table import DataFrame, read_table
from denoise_daisy.outputs.ome_groups import LABELS, listed_labels, own_attributes
from denoise_daisy.outputs.ome_zarr import LEVEL
from denoise_daisy.outputs.opened_image import OpenedImage, as_dask, open_group
from denoise_daisy.reports.notebook import Shown
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.tasks.places import stem_of
from denoise_daisy.wording import meant

TABLES = (".csv", ".parquet")
"""Endings of tables of objects."""


class Named(dict[str, OpenedImage]):
    """Images by the names of their tasks."""

    def __missing__(self, name: str) -> OpenedImage:
        """Say which there are.

        Raises
        ------
        KeyError
            There is none of that name.
        """
        raise _unknown(name, self)


@dataclass(frozen=True)
class Tables(Mapping[str, DataFrame]):
    """Tables of objects as data frames of pandas, each read when it is asked for."""

    files: Mapping[str, Path]
    """By the name of the task that wrote it."""

    def __getitem__(self, name: str) -> DataFrame:
        if name not in self.files:
            raise _unknown(name, self.files)
        return read_table(self.files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, eq=False)
class Output(Shown):
    """What a run has written, opened to be read; nothing is read before it is used."""

    path: Path
    """The OME-Zarr."""

    image: OpenedImage
    """The denoised image."""

    labels: Mapping[str, OpenedImage] = field(default_factory=dict)
    """Masks and labels by the name of their task; along t, c, z, y, x as the image."""

    tasks: Mapping[str, OpenedImage] = field(default_factory=dict)
    """Images of tasks, by name."""

    tables: Tables = field(default_factory=lambda: Tables({}))
    """Tables of objects by the name of their task, as data frames of pandas."""

    @cached_property
    def raw(self) -> OpenedImage | None:
        """The part of the input that was denoised; None where it is not there.

        Or where it is not what it was, or the run directory is gone.
        """
        run_dir = RunDir.of_output(self.path)
        try:
            record = RunRecord.read(run_dir)
            if record is None:
                return None
            run = restore(record, run_dir)
        except (InputError, RefusedError):
            return None
        try:
            check_input(run, record)
        except Exception:  # noqa: BLE001 - of whatever format, on any machine
            return None
        roi = run.denoising.grid.volume
        begin = roi.begin + Coordinate(run.image.origin)
        t, z, y, x = roi.to_slices()
        chunks = (1, run.image.shape[1], 1, *run.image.shape[3:])
        data = as_dask(run.image, chunks, _sliced)[t, :, z, y, x]
        return OpenedImage(
            path=Path(run.config.input.one.path),
            axes="tczyx",
            scale_um=tuple(run.image.scale_um),
            time_step_s=run.image.time_step_s,
            origin=tuple(begin),
            shift=tuple(map(float, begin)),
            channels=tuple(channel.name for channel in run.image.channels),
            levels=(data,),
            sources=(data,),
        )

    def __str__(self) -> str:
        return "\n".join([str(self.image), *(f"{n:<10} {t}" for n, t in self._rows)])

    @property
    def _rows(self) -> list[tuple[str, str]]:
        parts: dict[str, Mapping[str, Any]] = {
            "labels": self.labels,
            "tasks": self.tasks,
            "tables": self.tables.files,
        }
        return [(name, ", ".join(found)) for name, found in parts.items() if found]


def open(run: AnyRun) -> Output:
    """Open what a run has written: arrays by name, with scale, units and channels.

    Parameters
    ----------
    run
        The output, its config or its run directory; or another image or labels that a
        run has written.

    Returns
    -------
    Output
        Its arrays are read where they are sliced (NumPy) or computed (dask), a file at
        a time.  What the run has not written yet raises FileNotFoundError then.

    Raises
    ------
    InputError
        There is no such output.

    Examples
    --------
    >>> output = open("embryo_denoised.zarr")  # doctest: +SKIP
    >>> output.image[0, 0, 10]  # a plane, as an array of NumPy  # doctest: +SKIP
    >>> output.labels["cells"].data  # all of it, as a dask array  # doctest: +SKIP
    >>> output.tables["cells"].head()  # doctest: +SKIP
    """
    place = find_output(run)
    image = _opened(place)
    return Output(
        path=place,
        image=image,
        labels=Named((n, _labels(image, n)) for n in listed_labels(place)),
        tasks=Named(_images_beside(place)),
        tables=Tables(dict(_tables_beside(place))),
    )


def _unknown(name: str, known: Mapping[str, Any]) -> KeyError:
    listed = f"There are: {', '.join(known)}" if known else "There are none"
    return KeyError(f"nothing has the name {name!r}{meant(name, known)}. {listed}.")


def _sliced(image: Image, part: tuple[slice, ...]) -> np.ndarray:
    """Images take five slices, and nothing else that dask would ask for."""
    return image[part]


def _opened(group: Path) -> OpenedImage:
    try:
        return open_group(group)
    except Exception as error:
        raise InputError(
            f"{str(group / LEVEL)!r} can't be opened"
            f" ({' '.join(str(error).split()) or type(error).__name__}). Expected a"
            " config file, an output (….zarr) or its run directory (….zarr.run), of a"
            " run that was started."
        ) from error


def _labels(image: OpenedImage, name: str) -> OpenedImage:
    """Labels of an image: no channel is named there, so they are as in the image."""
    labels = _opened(image.path / LABELS / name)
    if len(labels.channels) == len(image.channels):
        return replace(labels, channels=image.channels)
    return labels


def _images_beside(output: Path) -> Iterator[tuple[str, OpenedImage]]:
    """Images that tasks of the same run have written."""
    own = own_attributes(output) or {}
    begin = f"{stem_of(output)}."
    for place in sorted(output.parent.glob(f"{glob_escape(begin)}*.zarr")):
        attributes = own_attributes(place) or {}
        if "run" in own and attributes.get("run") == own["run"]:
            name = place.name.removeprefix(begin).removesuffix(".zarr")
            yield name, _opened(place)


def _tables_beside(output: Path) -> Iterator[tuple[str, Path]]:
    """Tables that tasks of the run write, as its record has them."""
    record = None
    with suppress(RefusedError):  # its voxels can be looked at all the same
        record = RunRecord.read(RunDir.of_output(output))
    for name, stage in (record.stages if record else {}).items():
        place = output.parent / stage.output
        if place.suffix in TABLES and place.is_file():
            yield name.removesuffix(".table"), place
