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
from denoise_daisy.outputs.object_table import (
    Format,
    Frame,
    Objects,
    _distinct,
    to_file,
)

READ = {"csv": pd.read_csv, "parquet": pd.read_parquet}


def boxes() -> np.ndarray:
    mask = np.zeros((4, 9, 12), bool)
    mask[1:3, 2:5, 6:11] = True
    mask[0, 0, 0] = True
    return mask


def table(dtype: str = "float32") -> np.ndarray:
    labels, count = label_block(boxes(), 1)
    image = np.stack(
        [np.where(labels == 2, 7, 3), np.arange(labels.size).reshape(labels.shape)]
    ).astype(dtype)
    return pieces_of(labels, count, (0, 0, 0), labels.shape, image).table


FRAME = Frame((2.0, 0.5, None), (100.0, 200.0, 300.5), 1.5, 4)

NOWHERE = Frame((None, None, None), (0.0, 0.0, 0.0), None, 0)


def read(data: bytes, kind: Format) -> pd.DataFrame:
    return READ[kind](io.BytesIO(data))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
@pytest.mark.parametrize("kind", READ)
def test_columns_are_in_the_units_that_they_name(kind: Format, dtype: str) -> None:
    parts = [
        Objects(3, 0, "red", table(dtype)),
        Objects(4, 0, "red", table(dtype)[:0]),
        Objects(5, 1, "Zellkerne, \u6838", table(dtype)),
    ]
    names = ["red", "Zellkerne, \u6838"]
    frame = read(to_file(parts, FRAME, names, dtype, kind), kind)
    assert frame["id"].tolist() == [1, 2, 3, 4]
    assert frame["label"].tolist() == [1, 2, 1, 2]
    assert frame["t"].tolist() == [3, 3, 5, 5]
    assert frame["c"].tolist() == [0, 0, 1, 1]
    assert frame["channel"].tolist() == ["red"] * 2 + [names[1]] * 2
    assert frame["time_s"].tolist() == [7 * 1.5] * 2 + [9 * 1.5] * 2
    assert frame["voxels"].tolist() == [1, 30, 1, 30]
    row = frame.iloc[1]
    assert [row[f"{axis}_begin"] for axis in "zyx"] == [1, 2, 6]
    assert [row[f"{axis}_end"] for axis in "zyx"] == [3, 5, 11]
    assert [row[f"{axis}_begin_um"] for axis in "zy"] == [100.5 * 2, 201.5 * 0.5]
    assert [row[f"{axis}_end_um"] for axis in "zy"] == [102.5 * 2, 204.5 * 0.5]
    assert [row[f"centroid_{axis}"] for axis in "zyx"] == [1.5, 3, 8]
    assert [row[f"centroid_{axis}_um"] for axis in "zy"] == [101.5 * 2, 203 * 0.5]
    assert row["mean_intensity_red"] == 7
    assert row["std_intensity_red"] == 0
    if dtype != "uint8":
        places = np.flatnonzero(boxes())[1:]
        for what in ("mean", "std", "min", "max"):
            found = row[f"{what}_intensity_{names[1]}"]
            assert found == pytest.approx(getattr(np, what)(places), rel=1e-15)


@pytest.mark.parametrize("kind", READ)
def test_columns_are_the_same_where_sizes_are_not_known(kind: Format) -> None:
    """Empty, rather than of another name; as numbers, whatever is known."""
    parts = [Objects(0, 0, "c", table())]
    known, partly, not_at_all = (
        read(to_file(parts, frame, ["a", "a"], "float32", kind), kind)
        for frame in (Frame((2.0, 0.5, 0.5), (0.0,) * 3, 3.0, 0), FRAME, NOWHERE)
    )
    assert list(known) == list(partly) == list(not_at_all)
    assert len(set(known)) == known.shape[1]
    assert (known.dtypes == not_at_all.dtypes).all()
    empty = {name for name in not_at_all if not_at_all[name].isna().all()}
    assert empty == {name for name in known if name.endswith(("_um", "_um3", "_s"))}
    assert len(empty) == 11
    assert known["volume_um3"].tolist() == [0.5, 15]
    left = {name for name in partly if partly[name].isna().all()}
    assert left == {"volume_um3", "x_begin_um", "x_end_um", "centroid_x_um"}
    assert {"mean_intensity_a_0", "std_intensity_a_1"} <= set(known)


def test_no_objects_at_all_still_make_a_table() -> None:
    nothing = [Objects(0, 0, "c", table()[:0])]
    frame = read(to_file(nothing, NOWHERE, ["c"], "float32", "csv"), "csv")
    assert len(frame) == 0
    assert "centroid_z_um" in frame


def test_a_layer_of_labels_in_napari_takes_a_table_as_its_features() -> None:
    """As the documentation says; the objects of the time point that is shown."""
    layers = pytest.importorskip("napari.layers", reason="napari is not installed")
    parts = [Objects(t, 0, "c", table()) for t in range(2)]
    frame = read(to_file(parts, FRAME, ["c"], "float32", "csv"), "csv")
    layer = layers.Labels(label_block(boxes(), 1)[0][1])
    shown = frame[(frame["t"] == 1) & (frame["c"] == 0)]
    layer.features = shown.rename(columns={"label": "index"})
    status = layer.get_status((2, 6), view_direction=None, dims_displayed=None)
    assert "voxels: 30" in status["coordinates"]


def test_parquet_is_refused_where_it_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    object_table.check_format("parquet", "cells")
    monkeypatch.setattr(object_table, "find_spec", lambda _: None)
    object_table.check_format("csv", "cells")
    with pytest.raises(InputError, match="pyarrow"):
        object_table.check_format("parquet", "cells")


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "b", "a"], ["a_0", "b", "a_2"]),
        (["x", "x", "x_1"], ["x_0", "x_1_1", "x_1_2"]),
    ],
)
def test_channels_of_any_names_have_columns_of_their_own(
    names: list[str], columns: list[str]
) -> None:
    assert _distinct(names) == columns
