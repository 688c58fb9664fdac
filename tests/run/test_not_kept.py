"""A task that is not kept is deleted once its readers are done, and made again."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.errors import InputError
from denoise_daisy.run_dir.run_dir import find
from denoise_daisy.runs import not_kept
from denoise_daisy.runs.status import status
from denoise_daisy.runs.verify import verify
from harness import cli, output_of, write_config
from harness.oracles import (
    OTHER_VALUE,
    VALUE,
    chain,
    counts_since,
    filter_config,
    go,
    image_of,
    labels_of,
    ledgers,
    run_dir_of,
    speckles,
)


def not_kept_chain(value: float, *names: str) -> list[dict[str, Any]]:
    """Smooth, threshold and label, of which these are not kept."""
    return [
        task | ({"keep": False} if task["name"] in names else {})
        for task in chain(value)
    ]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Of a chain whose smoothed image and mask are not kept; it is not done yet."""
    (tmp_path / "out").mkdir()
    return filter_config(
        write_czi(tmp_path / "in.czi", speckles((1, 1, 4, 96, 40))),
        tmp_path / "out" / "out.zarr",
        blocks={"shape": {"y": 32}},
        tasks=not_kept_chain(VALUE, "soft", "bright"),
    )


def labelled(output: Path) -> list[str]:
    """What the output lists as its labels, and what lies there."""
    listed = json.loads((output / "labels" / "zarr.json").read_text())
    names = listed["attributes"]["ome"]["labels"]
    there = sorted(p.name for p in (output / "labels").iterdir() if p.is_dir())
    assert sorted(names) == there
    return list(names)


def test_what_only_others_read_is_deleted_and_made_again_when_it_is_needed(
    config: dict[str, Any],
) -> None:
    output = Path(config["output"]["path"])
    go(config)
    soft = image_of(output, "soft")
    assert not soft.exists()
    assert labelled(output) == ["cells"]
    cells = output_of(output / "labels" / "cells")
    assert cells.any()
    said = status(find(output))
    for name in ("soft", "bright"):
        assert f"{name}: deleted, for all that reads it is done" in said
    assert "All" in verify(find(output))
    # Nothing is left to do.
    before = ledgers(output)
    assert "done before" in go(config)
    assert counts_since(before, output) == {}
    # What reads it changes.
    said = go(config | {"tasks": not_kept_chain(OTHER_VALUE, "soft")})
    assert "Task soft is done again: what it had made is deleted." in said
    assert set(counts_since(before, output)) >= {"bright", "cells"}
    assert not soft.exists()
    assert sorted(labelled(output)) == ["bright", "cells"]
    go(config | {"tasks": chain(OTHER_VALUE)})
    expected = labels_of(output_of(soft) > OTHER_VALUE)
    np.testing.assert_array_equal(output_of(output / "labels" / "cells"), expected)


def test_it_is_kept_as_long_as_a_reader_is_not_done_or_not_right(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path(config["output"]["path"])
    go(config, tasks=["denoise", "soft", "bright"])
    assert image_of(output, "soft").exists() is False
    assert sorted(labelled(output)) == ["bright", "cells"]
    delete = not_kept.delete_unneeded

    def damage_first(*arguments: Any) -> None:
        for file in (output / "labels" / "cells" / "0" / "c").rglob("*"):
            if file.is_file():
                file.write_bytes(b"not what was written")
        delete(*arguments)

    monkeypatch.setattr("denoise_daisy.runs.start.delete_unneeded", damage_first)
    go(config)
    assert sorted(labelled(output)) == ["bright", "cells"]


def test_a_start_that_was_killed_before_it_deleted_lets_the_next_do_it(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path(config["output"]["path"])
    with monkeypatch.context() as patch:
        patch.setattr("denoise_daisy.runs.start.delete_unneeded", lambda *_: None)
        go(config)
    assert image_of(output, "soft").exists()
    go(config)
    assert not image_of(output, "soft").exists()
    assert labelled(output) == ["cells"]


def test_a_task_that_nobody_reads_or_that_has_levels_is_kept(
    config: dict[str, Any],
) -> None:
    config["tasks"] = not_kept_chain(VALUE, "cells")
    with pytest.raises(InputError, match="'cells' has keep: false, and no other task"):
        go(config)
    levels = {"kind": "pyramid", "name": "levels", "input": "soft"}
    config["tasks"] = [*not_kept_chain(VALUE, "soft"), levels]
    with pytest.raises(InputError, match="'soft' has keep: false, and a pyramid"):
        go(config)
    # A mask of one of its levels makes no difference.
    of_level = {"kind": "threshold", "name": "mask", "input": "levels.1", "value": 5}
    config["tasks"] = [*chain(VALUE), levels | {"levels": 1, "keep": False}, of_level]
    with pytest.raises(InputError, match="'levels' .* levels are a part of 'soft'"):
        go(config)
    assert not run_dir_of(Path(config["output"]["path"])).exists()


def test_the_command_line_tells_of_it(config: dict[str, Any], tmp_path: Path) -> None:
    path = write_config(tmp_path / "config.json", config)
    assert cli("run", path).returncode == 0
    said = cli("status", path).stdout
    assert "soft: deleted" in said
    shutil.rmtree(run_dir_of(Path(config["output"]["path"])))
