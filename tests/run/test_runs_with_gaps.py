"""Runs with blocks that are not denoised: gaps in the file, and empty space."""

from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi

from harness import here, ledger_lines, output_of, write_config
from harness.czi_files import write_tiles
from harness.oracles import (
    blocks_since,
    denoised_of,
    filter_config,
    go,
    labels_of,
    ledgers,
    mask_of,
    speckles,
)

SHAPE = (2, 2, 4, 48, 64)
BLOCKS = {"shape": {"y": 16, "x": 32}}


def engines(output: Path) -> Counter[str]:
    return Counter(line["engine"] for line in ledger_lines(output))


def test_a_mosaic_is_denoised_and_labelled_with_its_gaps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Four of 12 blocks are in no tile, and a plane of the others is missing."""
    image, there = speckles(SHAPE), np.zeros(SHAPE, bool)
    there[:, :, :, :32, :30] = there[:, :, :, 30:48, 32:63] = True
    there[1, 1, 2] = False
    there[0, 0, 0, 47, 63] = True
    image[~there] = 0
    tiles = [("T0 C0 Z0", image[0, 0, 0, 47:, 63:], (63, 47))]
    for t, c, z in np.ndindex(SHAPE[:3]):
        if (t, c, z) != (1, 1, 2):
            plane, where = image[t, c, z], f"T{t} C{c} Z{z}"
            tiles.append((where, plane[:32, :30], (0, 0)))
            tiles.append((where, plane[30:48, 32:63], (32, 30)))
    output = tmp_path / "out.zarr"
    config = filter_config(
        write_tiles(tmp_path / "in.czi", tiles),
        output,
        blocks=BLOCKS,
        tasks=[
            {"kind": "threshold", "name": "bright", "method": "otsu"},
            {"kind": "label", "name": "cells", "input": "bright"},
        ],
    )
    planned = here("plan", write_config(tmp_path / "plan.json", config)).stdout
    assert "\nskip     4 of 12 blocks written as they are, which saves " in planned
    assert "; exact\n" in planned
    said = go(config)
    assert "4 blocks written as they are, not denoised: the file holds noth" in said
    assert "1 of 16 planes are missing" in caplog.text
    assert "(the first: T 1, C 1, Z 2); they stay 0." in caplog.text
    assert engines(output)["none"] == 4
    assert engines(output).total() == 12
    expected = np.where(there, denoised_of(image), 0)
    np.testing.assert_array_equal(output_of(output), expected)
    mask = mask_of(output, "bright")
    assert not mask[~there].any()
    assert 0.05 < mask[there].mean() < 0.95
    np.testing.assert_array_equal(mask_of(output, "cells"), labels_of(mask))
    path = write_config(tmp_path / "config.json", config)
    status = here("status", path).stdout
    assert "left: 4 blocks written as they are, not denoised: the file hol" in status
    assert f"engine: scipy {version('scipy')} (8 blocks)\n" in status
    assert here("verify", path).returncode == 0
    before = ledgers(output)
    go(config)
    assert ledgers(output) == before


def test_an_empty_block_that_is_damaged_is_left_as_it_is_again(tmp_path: Path) -> None:
    """In its own block shape, whatever is asked for; and what read it is done again."""
    image = np.full(SHAPE, 100, np.uint16)
    image[:, :, :, 20:24, 40:44] = 900
    # Noise of one block and its neighbours' context alone
    image[0, 0, 0, 2, 2] = 105
    output = tmp_path / "out.zarr"
    config = filter_config(
        write_czi(tmp_path / "in.czi", image),
        output,
        blocks=BLOCKS | {"skip": {"below": 105}},
        tasks=[{"kind": "threshold", "name": "bright", "value": 104.0}],
    )
    planned = here("plan", write_config(tmp_path / "plan.json", config)).stdout
    assert "\nskip     10 of 12 blocks written as they are, which saves " in planned
    assert "; NOT exact\n" in planned
    said = go(config)
    assert (
        "10 blocks written as they are, not denoised: nothing they read is above 105"
        " (blocks.skip)." in said
    )
    assert engines(output)["none"] == 10
    expected = denoised_of(image)
    assert expected[0, 0, 0, 2, 2] == 100
    expected[0, 0, 0, 2, 2] = 105
    np.testing.assert_array_equal(output_of(output), expected)
    shard = min(p for p in (output / "0" / "c").rglob("*") if p.is_file())
    shard.unlink()
    before = ledgers(output)
    path = write_config(tmp_path / "config.json", config)
    assert here("verify", path).returncode == 3
    del config["blocks"]["shape"]
    go(config)
    first = {(0, 0, 0, 0)}
    done = blocks_since(before, output)
    assert {name: set(blocks) for name, blocks in done.items()} == {
        "denoise": first,
        "bright": first,
    }
    np.testing.assert_array_equal(output_of(output), expected)
    np.testing.assert_array_equal(mask_of(output, "bright"), expected > 104)
    [again] = [
        line
        for line in ledger_lines(output)
        if line["block"] == [0, 0, 0, 0] and line["status"] == "done"
    ][-1:]
    assert again["engine"] == "none"
