"""A task that is changed or damaged is done again, with what reads it, and no other.

What a start has computed is told by the lines that it added to the ledgers.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from demo_czi import write_czi

from denoise_daisy.errors import InputError
from denoise_daisy.run_dir.run_dir import find
from denoise_daisy.runs.verify import verify
from harness import here, ome_of, output_of, write_config
from harness.oracles import (
    ALL,
    CHUNKS,
    OF_CELLS,
    OTHER_VALUE,
    VALUE,
    blocks_since,
    chain,
    counts_since,
    filter_config,
    go,
    image_of,
    labels_of,
    ledgers,
    mask_of,
    run_dir_of,
    speckles,
)
from harness.shared import once


def do_chain(folder: Path) -> dict[str, Any]:
    config = filter_config(
        write_czi(folder / "in.czi", speckles((1, 1, 4, 96, 40))),
        folder / "out" / "out.zarr",
        blocks={"shape": {"y": 32}},
        tasks=chain(VALUE),
    )
    (folder / "out").mkdir()
    go(config)
    assert counts_since({}, folder / "out" / "out.zarr") == ALL
    return config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of a chain that is done."""
    return once(tmp_path_factory, "changes", do_chain)


@pytest.fixture
def config(finished: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Its config where a copy of all that it wrote lies, of the test's own."""
    shutil.copytree(Path(finished["output"]["path"]).parent, tmp_path / "out")
    copied: dict[str, Any] = json.loads(json.dumps(finished))
    copied["output"]["path"] = str(tmp_path / "out" / "out.zarr")
    return copied


def test_another_value_redoes_the_task_and_what_reads_it(
    config: dict[str, Any],
) -> None:
    output = Path(config["output"]["path"])
    before, labels = ledgers(output), mask_of(output, "cells")
    said = go(config | {"tasks": chain(OTHER_VALUE)})
    assert "Task bright is done again: value was 2100.0, is 2250.0." in said
    assert "Task cells is done again: what it reads has changed." in said
    assert "Task soft" not in said
    assert counts_since(before, output) == {"bright": 3} | OF_CELLS
    soft = output_of(image_of(output, "soft"))
    expected = labels_of(soft > OTHER_VALUE)
    assert (expected != labels).any()
    np.testing.assert_array_equal(mask_of(output, "cells"), expected)
    assert pd.read_csv(output.with_name("out.cells.csv"))["id"].max() == expected.max()


def test_a_task_that_is_added_is_all_that_runs(config: dict[str, Any]) -> None:
    output = Path(config["output"]["path"])
    before = ledgers(output)
    dim = {"kind": "threshold", "name": "dim", "input": "soft", "value": 1900.0}
    said = go(config | {"tasks": [*config["tasks"], dim]})
    assert "done again" not in said
    assert f"{sum(ALL.values())} skipped (done before)" in said
    assert counts_since(before, output) == {"dim": 3}
    soft = output_of(image_of(output, "soft"))
    np.testing.assert_array_equal(mask_of(output, "dim"), soft > 1900)
    listed = ome_of(output / "labels")["labels"]
    assert sorted(listed) == ["bright", "cells", "dim"]


def test_a_task_taken_out_and_put_back_is_not_done_again(
    config: dict[str, Any],
) -> None:
    """But it is if what it reads was changed in between."""
    output = Path(config["output"]["path"])
    before = ledgers(output)
    two = config["tasks"][:2]
    fewer = sum(ALL.values()) - sum(OF_CELLS.values())
    assert f"All {fewer} blocks were done before" in go(config | {"tasks": two})
    assert f"All {sum(ALL.values())} blocks were done before" in go(config)
    assert ledgers(output) == before
    go(config | {"tasks": chain(OTHER_VALUE)[:2]})
    assert counts_since(before, output) == {"bright": 3}
    go(config | {"tasks": chain(OTHER_VALUE)})
    assert counts_since(before, output) == {"bright": 3} | OF_CELLS
    expected = labels_of(mask_of(output, "bright"))
    np.testing.assert_array_equal(mask_of(output, "cells"), expected)


def test_other_workers_redo_nothing(config: dict[str, Any]) -> None:
    """Neither those of the run nor those of a task, nor how often blocks are tried."""
    output = Path(config["output"]["path"])
    before = ledgers(output)
    config["workers"] = {"kind": "local", "count": 1, "max_retries": 7}
    own = {"workers": {"kind": "local", "count": 1}, "max_retries": 0}
    config["tasks"] = chain(VALUE, soft=own, cells={"max_retries": 9})
    assert f"All {sum(ALL.values())} blocks were done before" in go(config)
    assert ledgers(output) == before


def test_only_the_tasks_asked_for_are_done(
    finished: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "out.zarr"
    config = finished | {"output": {"path": str(output), "chunks": CHUNKS}}
    path = write_config(tmp_path / "config.json", config)
    with pytest.raises(InputError, match=r"'denoise', of which 3 .* --task denoise"):
        go(config, tasks=["soft"])
    with pytest.raises(InputError, match=r"no task 'cells\.pieces'.* bright, cells"):
        go(config, tasks=["cells.pieces"])
    refused = here("run", path, "--task", "denoise", "--task", "bright")
    assert refused.returncode == 2, refused.stderr
    assert "--task soft" in refused.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]

    go(config, tasks=["denoise", "soft"])
    assert counts_since({}, output) == {"denoise": 3, "soft": 3}
    before = ledgers(output)
    with pytest.raises(InputError, match="--task bright"):
        go(config, tasks=["cells"])
    assert ledgers(output) == before
    # A finished task is no reason to start anything.
    assert "All 3 blocks were done before" in go(config, tasks=["soft"])
    go(config, tasks=["cells", "bright"])
    assert counts_since(before, output) == {"bright": 3} | OF_CELLS
    other = mask_of(Path(finished["output"]["path"]), "cells")
    np.testing.assert_array_equal(mask_of(output, "cells"), other)


def test_damage_anywhere_in_the_chain_is_found_and_redone_with_its_readers(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """And nothing else: the readers may have been computed from the damage."""
    output = Path(config["output"]["path"])
    soft, labels = output_of(image_of(output, "soft")), mask_of(output, "cells")
    shard = image_of(output, "soft") / "0/c/0/0/0/1/0"
    voxels = bytearray(shard.read_bytes())
    voxels[len(voxels) // 3] ^= 0x10
    shard.write_bytes(voxels)
    pieces = run_dir_of(output) / "tasks" / "cells.pieces" / "0-0-2-0.npz"
    whole = pieces.read_bytes()
    pieces.write_bytes(whole[:-1])
    (run_dir_of(output) / "tasks" / "cells.union" / "0-0-0-0.npz").unlink()

    found = here("verify", write_config(tmp_path / "config.json", config))
    assert found.returncode == 3, found.stderr
    assert f"3 of {sum(ALL.values())} blocks are not what was written" in found.stderr
    assert "soft block [0, 0, 1, 0]:" in found.stderr
    assert "cells.pieces block [0, 0, 2, 0]:" in found.stderr
    assert (
        "cells.union block [0, 0, 0, 0]: cells.union/0-0-0-0.npz is missing"
        in found.stderr
    )

    before = ledgers(output)
    go(config)
    assert blocks_since(before, output) == {
        "soft": [(0, 0, 1, 0)],
        "bright": [(0, 0, 1, 0)],
        "cells.pieces": [(0, 0, 1, 0), (0, 0, 2, 0)],
        "cells.union": [(0, 0, 0, 0)],
        "cells": [(0, 0, 0, 0), (0, 0, 1, 0), (0, 0, 2, 0)],
        "cells.table": [(0, 0, 0, 0)],
    }
    np.testing.assert_array_equal(output_of(image_of(output, "soft")), soft)
    np.testing.assert_array_equal(mask_of(output, "cells"), labels)
    assert pieces.stat().st_size == len(whole)
    assert f"All {sum(ALL.values())} blocks are as" in verify(find(output))
