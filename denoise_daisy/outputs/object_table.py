"""Tables of labelled objects, as CSV or Parquet.

One row per object; the columns are the same whatever is known of the image:

- ``id``: from 1, unique in the table.
- ``label``, ``t``, ``c``: the object's voxels are those that are ``label`` in the label
  image at this time point and channel, which count from the label image's first.
- ``channel``: the channel's name.
- ``time_s``: of the time point.
- ``voxels``, ``volume_um3``.
- ``z_begin``, ``z_end`` and so on: the box, in voxels of the label image, the end not
  included; ``z_begin_um`` and so on: from face to face of these voxels.
- ``centroid_z`` and so on, in voxels, whole numbers being voxels' centres, and
  ``centroid_z_um`` and so on.
- ``mean_intensity_NAME``, ``std_intensity_NAME``, ``min_intensity_NAME`` and
  ``max_intensity_NAME`` for each channel of the image that was measured.

Times and places in seconds and micrometers are where the label image's OME metadata put
them; they are left empty where the image has no such size.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from denoise_daisy.algorithms.intensities import intensities
from denoise_daisy.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

AXES = ("z", "y", "x")

LAYOUT = 2
"""Number of this layout of the columns."""

Format = Literal["csv", "parquet"]

DataFrame: TypeAlias = "pd.DataFrame"
"""A table of pandas."""


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a time point and channel of a label image."""

    t: int
    c: int
    channel: str
    """Its name."""
    table: np.ndarray
    """See `labelling.table_type`; positions are those in the label image."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a label image lies; None for a size that is not known."""

    scale_um: tuple[float | None, ...]
    """Size of a voxel along (z, y, x)."""
    first: tuple[float, ...]
    """Where the centre of the first voxel lies, (z, y, x), in voxels."""
    time_step_s: float | None
    first_t: int
    """Which time point of the image the first one is."""


def check_format(kind: Format, task: str) -> None:
    """Refuse a table that can't be written here."""
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise InputError(
            f"Task {task!r} writes its table as parquet, for which pyarrow is not"
            " installed. Install it (pip install pyarrow), or set table to csv."
        )


def to_file(
    parts: Iterable[Objects],
    frame: Frame,
    channels: Sequence[str],
    dtype: str,
    kind: Format,
) -> bytes:
    """The objects of a label image, part after part.

    `channels` are the names of those that were measured, and `dtype` is their type.
    """
    import pandas as pd  # noqa: PLC0415 - a third of a second, for a few runs only

    def frames() -> Iterator[Any]:
        count = 0
        for part in parts:
            ids = {"id": np.arange(count + 1, count + 1 + len(part.table))}
            rest = _places(part, frame) | _intensities(part, channels, dtype)
            yield pd.DataFrame(ids | rest)
            count += len(part.table)

    buffer = io.BytesIO()
    if kind == "csv":
        for i, rows in enumerate(frames()):
            rows.to_csv(buffer, index=False, header=i == 0)
    else:
        pd.concat(frames(), ignore_index=True).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _places(part: Objects, frame: Frame) -> dict[str, Any]:
    """Columns of what an object is and where, by name."""
    table, size = part.table, len(part.table)
    scale = [np.nan if step is None else step for step in frame.scale_um]
    step = np.nan if frame.time_step_s is None else frame.time_step_s
    columns: dict[str, Any] = {
        "label": np.arange(1, size + 1),
        "t": np.full(size, part.t),
        "c": np.full(size, part.c),
        "channel": np.full(size, part.channel, object),
        "time_s": np.full(size, (frame.first_t + part.t) * step),
        "voxels": table["voxels"],
        "volume_um3": table["voxels"] * float(np.prod(scale)),
    }
    sides = [
        (axis, i, side) for i, axis in enumerate(AXES) for side in ("begin", "end")
    ]
    for axis, i, side in sides:
        columns[f"{axis}_{side}"] = table[side][:, i]
    for axis, i, side in sides:
        face = table[side][:, i] - 0.5 + frame.first[i]
        columns[f"{axis}_{side}_um"] = face * scale[i]
    centres = table["sums"] / table["voxels"][:, np.newaxis]
    for i, axis in enumerate(AXES):
        columns[f"centroid_{axis}"] = centres[:, i]
    for i, axis in enumerate(AXES):
        columns[f"centroid_{axis}_um"] = (centres[:, i] + frame.first[i]) * scale[i]
    return columns


def _intensities(
    part: Objects, channels: Sequence[str], dtype: str
) -> dict[str, np.ndarray]:
    """Columns of what was measured, by name."""
    columns = {}
    for i, channel in enumerate(_distinct(channels)):
        found = intensities(part.table, i, dtype)
        for what in ("mean", "std", "min", "max"):
            columns[f"{what}_intensity_{channel}"] = getattr(found, what)
    return columns


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that several channels have are told apart by their number."""
    found = list(names)
    while len(set(found)) < len(found):
        # One with its number may be another's own name.
        found = [f"{n}_{i}" if found.count(n) > 1 else n for i, n in enumerate(found)]
    return found


def read_table(file: Path) -> DataFrame:
    """A table that was written, by the ending of its name."""
    import pandas as pd  # noqa: PLC0415 - as above

    return pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
