"""Blocks of a chain that fail or come early concern just those that read them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
from demo_czi import write_czi

from harness import cli, output_of, write_config
from harness.chains import Chain
from harness.oracles import (
    blocks_since,
    chain,
    denoised_of,
    filter_config,
    image_of,
    labels_of,
    ledgers,
    mask_of,
    smooth_of,
    speckles,
)
from harness.waiting import wait_until

MODULE = """
def double(block, context):
    if tuple(context.write_roi.begin) == {bad!r}:
        raise ValueError("there is a fly on the lens")
    return block.astype("float32") * 2


def negative(block, context):
    if tuple(context.write_roi.begin) == {bad!r}:
        raise KeyError("no fly")
    return -block.astype("float32")
"""


def test_a_block_that_fails_takes_along_those_that_read_it_and_no_others(
    tmp_path: Path,
) -> None:
    """Once its function is corrected, that is done again, with all that reads it."""
    image, output = speckles((1, 1, 2, 160, 24)), tmp_path / "out.zarr"
    typed = {"kind": "function", "dtype": "float32", "channels": 1}
    tasks = [
        typed | {"name": "twice", "function": "flies:double", "max_retries": 1},
        typed | {"name": "minus", "function": "flies:negative", "max_retries": 0},
        {"kind": "smooth", "name": "soft", "input": "twice", "sigma": {"y": 2.0}},
        {"kind": "threshold", "name": "bright", "input": "soft", "value": 4200.0},
        {"kind": "label", "name": "cells", "input": "bright"},
    ]
    config = filter_config(
        write_czi(tmp_path / "in.czi", image),
        output,
        blocks={"shape": {"y": 32}},
        tasks=tasks,
    )
    path = write_config(tmp_path / "config.json", config)
    (tmp_path / "flies.py").write_text(MODULE.format(bad=(0, 0, 32, 0)))
    failed = cli(path, timeout=240)
    assert failed.returncode == 3, failed.stderr
    every = [(0, 0, i, 0) for i in range(5)]
    # Smoothing sees 8 voxels beyond a block, which all lie in the next.
    alive = {
        "denoise": every,
        "twice": [every[0], *every[2:]],
        "minus": [every[0], *every[2:]],
        "soft": every[3:],
        "bright": every[3:],
        "cells.pieces": every[3:],
    }
    assert blocks_since({}, output) == alive
    bad = [
        (stage, json.loads(line))
        for stage, lines in ledgers(output).items()
        for line in lines
        if json.loads(line)["status"] == "failed"
    ]
    assert Counter(stage for stage, _ in bad) == {"twice": 2, "minus": 1}
    for stage, line in bad:
        assert tuple(line["block"]) == every[1]
        assert line["reason"] == "exception"
        function = "in double" if stage == "twice" else "in negative"
        assert function in line["traceback"]
    assert "1 of 5 blocks of twice failed for good" in failed.stderr
    assert "there is a fly on the lens" in failed.stderr
    for stage, orphans in (
        ("soft", "3 of 5"),
        ("bright", "3 of 5"),
        ("cells.pieces", "3 of 5"),
        ("cells.union", "1 of 1"),
        ("cells", "5 of 5"),
    ):
        assert f"{orphans} blocks of {stage} wait for blocks that" in failed.stderr
    assert "of minus wait" not in failed.stderr
    assert "of denoise" not in failed.stderr

    before = ledgers(output)
    (tmp_path / "flies.py").write_text(MODULE.format(bad=None))
    done = cli(path, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Task twice is done again: code flies was" in done.stdout
    assert blocks_since(before, output) == {
        "twice": every,
        "minus": every,
        "soft": every,
        "bright": every,
        "cells.pieces": every,
        "cells.union": [(0, 0, 0, 0)],
        "cells": every,
    }
    twice = denoised_of(image).astype(np.float32) * 2
    np.testing.assert_array_equal(output_of(image_of(output, "twice")), twice)
    np.testing.assert_array_equal(output_of(image_of(output, "minus")), twice / -2)
    soft = output_of(image_of(output, "soft"))
    np.testing.assert_allclose(soft, smooth_of(twice, (0, 0, 0, 2, 0)), rtol=1e-6)
    np.testing.assert_array_equal(mask_of(output, "cells"), labels_of(soft > 4200))


def test_tasks_begin_before_the_denoising_ends(tmp_path: Path) -> None:
    """One of two time points is labelled while a block of the other is held."""
    image = speckles((2, 1, 4, 64, 64))
    whole = {"blocks": {"shape": {"t": 1}}}
    run = Chain(tmp_path, image, tasks=chain(2100.0, bright=whole, cells=whole))
    run.hold(free=7)
    with run.running(held=True) as process:
        wait_until(lambda: run.done("cells.pieces"), "a time point is labelled")
        assert len(run.done("denoise")) == 7
        run.hold()
        assert process.wait(240) == 0
    assert len(run.done("denoise")) == 8
    mask = output_of(image_of(run.output, "soft")) > 2100
    np.testing.assert_array_equal(mask_of(run.output, "cells"), labels_of(mask))
