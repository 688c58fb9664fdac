"""Tables of labelled objects, as CSV or Parquet."""

import io
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from denoise_daisy.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

AXES = ("z", "y", "x")

Format = Literal["csv", "parquet"]

DataFrame: TypeAlias = "pd.DataFrame"
"""A table of pandas."""


def check_format(kind: Format, task: str) -> None:
    """Refuse a table that can't be written here."""
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise InputError(
            f"Task {task!r} writes its table as parquet, for which pyarrow is not"
            " installed. Install it (pip install pyarrow), or set table to csv."
        )


def to_file(
    parts: Iterable[tuple[int, str, np.ndarray]],
    channels: list[str],
    scale_um: Sequence[float | None],
    first_voxel: Sequence[int],
    shift: Sequence[float],
    kind: Format,
) -> bytes:
    """One row per object; columns as in `_columns`.

    Parameters
    ----------
    parts
        Time point, the mask's channel, and the table of its objects (see
        `labelling.table_type`, positions from the volume's first voxel).
    channels
        Names of the channels whose intensity was measured.
    scale_um
        Size of a voxel along (z, y, x) in micrometer; None where not recorded.
    first_voxel
        Where the volume's first voxel lies, (z, y, x).
    shift
        From a voxel's position to its centre's in the image, in voxels of (z, y, x).
    """
    import pandas as pd  # noqa: PLC0415 - a third of a second, for a few runs only

    frames = (
        pd.DataFrame(_columns(t, name, table, channels, scale_um, first_voxel, shift))
        for t, name, table in parts
    )
    buffer = io.BytesIO()
    if kind == "csv":
        for i, frame in enumerate(frames):
            frame.to_csv(buffer, index=False, header=i == 0)
    else:
        pd.concat(frames, ignore_index=True).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _columns(
    t: int,
    name: str,
    table: np.ndarray,
    channels: list[str],
    scale_um: Sequence[float | None],
    first_voxel: Sequence[int],
    shift: Sequence[float],
) -> dict[str, np.ndarray]:
    """The columns, by name; a centroid is in voxels where no size is recorded."""
    voxels = table["voxels"]
    columns = {
        "t": np.full(len(table), t),
        "channel": np.full(len(table), name, object),
        "id": np.arange(1, len(table) + 1),
        "voxels": voxels,
    }
    for i, axis in enumerate(AXES):
        columns[f"{axis}_begin"] = table["begin"][:, i] + first_voxel[i]
        columns[f"{axis}_end"] = table["end"][:, i] + first_voxel[i]
    for i, axis in enumerate(AXES):
        position = table["sums"][:, i] / voxels + first_voxel[i] + shift[i]
        size, unit = (scale_um[i], "um") if scale_um[i] else (1.0, "voxel")
        columns[f"centroid_{axis}_{unit}"] = position * size
    for i, channel in enumerate(channels):
        # Names that several channels have are told apart by their number.
        number = f"_{i}" if channels.count(channel) > 1 else ""
        name = f"mean_intensity_{channel}{number}"
        columns[name] = table["intensity"][:, i] / voxels
    return columns


def read_table(file: Path) -> DataFrame:
    """A table that was written, by the ending of its name."""
    import pandas as pd  # noqa: PLC0415 - as above

    return pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
