"""A table of objects says where they are, in both of its formats.

The oracle is arithmetic by hand on two boxes of known voxels.  A green run would mean
nothing if axes could be mixed up: every axis has its own extent, size and offset.
"""

import io

import numpy as np
import pandas as pd
import pytest

from denoise_daisy.algorithms.labelling import label_block, pieces_of
from denoise_daisy.errors import InputError
from denoise_daisy.outputs import object_table
from denoise_daisy.outputs.object_table import Format

READ = {"csv": pd.read_csv, "parquet": pd.read_parquet}


def boxes() -> np.ndarray:
    mask = np.zeros((4, 9, 12), bool)
    mask[1:3, 2:5, 6:11] = True
    mask[0, 0, 0] = True
    return mask


def table() -> np.ndarray:
    labels, count = label_block(boxes(), 1)
    image = np.stack(
        [np.where(labels == 2, 7, 3), np.arange(labels.size).reshape(labels.shape)]
    )
    return pieces_of(labels, count, (0, 0, 0), labels.shape, image).table


@pytest.mark.parametrize("kind", READ)
def test_columns_are_in_the_units_that_they_name(kind: Format) -> None:
    data = object_table.to_file(
        [(3, "red", table()), (4, "red", table()[:0]), (5, "blue", table())],
        ["red", "blue"],
        [2.0, 0.5, None],
        [100, 200, 300],
        [0.0, 0.0, 0.5],
        kind,
    )
    frame = READ[kind](io.BytesIO(data))
    assert frame["t"].tolist() == [3, 3, 5, 5]
    assert frame["channel"].tolist() == ["red", "red", "blue", "blue"]
    assert frame["id"].tolist() == [1, 2, 1, 2]
    assert frame["voxels"].tolist() == [1, 30, 1, 30]
    row = frame.iloc[1]
    assert [row[f"{axis}_begin"] for axis in "zyx"] == [101, 202, 306]
    assert [row[f"{axis}_end"] for axis in "zyx"] == [103, 205, 311]
    assert row["centroid_z_um"] == 101.5 * 2
    assert row["centroid_y_um"] == 203 * 0.5
    assert row["centroid_x_voxel"] == 308.5
    assert row["mean_intensity_red"] == 7
    assert row["mean_intensity_blue"] == np.flatnonzero(boxes())[1:].mean()


def test_no_objects_at_all_still_make_a_table() -> None:
    data = object_table.to_file(
        [(0, "c", table()[:0])], ["c"], [1.0] * 3, [0] * 3, [0.0] * 3, "csv"
    )
    frame = pd.read_csv(io.BytesIO(data))
    assert len(frame) == 0
    assert "centroid_z_um" in frame


def test_parquet_is_refused_where_it_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    object_table.check_format("parquet", "cells")
    monkeypatch.setattr(object_table, "find_spec", lambda _: None)
    object_table.check_format("csv", "cells")
    with pytest.raises(InputError, match="pyarrow"):
        object_table.check_format("parquet", "cells")
