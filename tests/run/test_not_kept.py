"""A task that is not kept is deleted once its readers are done, and made again."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.errors import BlocksFailed, InputError, RunStopped
from denoise_daisy.run_dir.run_dir import find
from denoise_daisy.runs import not_kept
from denoise_daisy.runs.verify import verify
from harness import cli, here, output_of, write_config
from harness.hiccups import Hiccup
from harness.looking import status
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
    mask_of,
    run_dir_of,
    speckles,
)
from harness.stand_ins import FakeTime


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


@pytest.fixture
def undeleted(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """All is done, but the start was killed before it deleted anything."""
    with monkeypatch.context() as patch:
        patch.setattr("denoise_daisy.runs.start.delete_unneeded", lambda *_: None)
        go(config)
    assert image_of(Path(config["output"]["path"]), "soft").exists()
    return config


class Cut:
    """Stops a start at the call of that number that deletes or unlists something.

    Zarr's own threads could not be stopped.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left = number
        for owner, name in (
            (os, "unlink"),
            (os, "rmdir"),
            (not_kept, "unlist_labels"),
        ):
            stand_in = partial(self._call, getattr(owner, name))
            monkeypatch.setattr(owner, name, stand_in)

    def _call(self, real: Callable[..., None], *args: Any, **more: Any) -> None:
        self.left -= threading.current_thread() is threading.main_thread()
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt
        real(*args, **more)


def test_what_a_start_has_begun_to_delete_the_next_one_deletes(
    undeleted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path(undeleted["output"]["path"])
    shutil.copytree(output.parent, tmp_path / "before")
    number, was_cut = 1, True
    while was_cut:
        shutil.rmtree(output.parent)
        shutil.copytree(tmp_path / "before", output.parent)
        with monkeypatch.context() as patch:
            cut = Cut(patch, number)
            with suppress(KeyboardInterrupt):
                go(undeleted)
            was_cut = cut.left < 0
        assert "done before" in go(undeleted)
        assert not image_of(output, "soft").exists(), number
        assert labelled(output) == ["cells"], number
        number += 1
    assert number > 30


def test_a_damage_counts_through_what_is_deleted(undeleted: dict[str, Any]) -> None:
    output = Path(undeleted["output"]["path"])
    go(undeleted)
    (output / "0" / "c" / "0" / "0" / "0" / "0" / "0").write_bytes(b"damaged")
    with pytest.raises(BlocksFailed, match=r"and so do \d+ blocks that read them"):
        verify(find(output))
    said = status(find(output))
    assert "cells: 3 done" not in said
    assert "cells.table: 0 done" in said


def test_what_is_busy_for_a_moment_is_deleted_then(
    undeleted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    soft = image_of(Path(undeleted["output"]["path"]), "soft")
    with monkeypatch.context() as patch:
        patch.setattr("denoise_daisy.durable.time", FakeTime())
        Hiccup(patch, "rmdir", str(soft / "0"), times=1000, error=errno.EBUSY)
        with pytest.raises(RunStopped, match=r"can't use its files \(Device or res"):
            go(undeleted)
    hiccup = Hiccup(monkeypatch, "rmdir", str(soft / "0"), error=errno.EBUSY)
    go(undeleted)
    assert hiccup.hits == 1
    assert not soft.exists()


def test_a_table_is_kept_though_its_labels_are_not(config: dict[str, Any]) -> None:
    """Asked for later, it is made of what is made again for that."""
    output = Path(config["output"]["path"])
    table = output.with_name("out.cells.csv")
    config["tasks"] = not_kept_chain(VALUE, "cells")
    cells = config["tasks"][-1]
    reader = {"kind": "threshold", "name": "any", "input": "cells", "value": 0}
    config["tasks"].append(reader)
    del cells["table"]
    go(config)
    assert sorted(labelled(output)) == ["any", "bright"]
    before = ledgers(output)
    cells["table"] = "csv"
    go(config)
    expected = labels_of(mask_of(output, "bright")).max()
    assert expected
    assert len(table.read_text().splitlines()) == 1 + expected
    assert sorted(labelled(output)) == ["any", "bright"]
    assert counts_since(before, output) == {"cells.table": 1}
    assert "done before" in go(config)
    assert table.exists()
    assert "All" in verify(find(output))
    assert "cells.table: 1 done" in status(find(output))


def test_the_levels_of_what_is_not_kept_any_more_go_with_it(
    config: dict[str, Any], tmp_path: Path
) -> None:
    wide = write_czi(tmp_path / "wide.czi", speckles((1, 1, 1, 32, 300)))
    config["input"]["path"] = str(wide)
    output = Path(config["output"]["path"])
    go(config | {"tasks": chain(VALUE)})
    soft = image_of(output, "soft")
    assert (soft / "1").exists()
    go(config)
    assert not soft.exists()
    assert labelled(output) == ["cells"]
    assert (output / "labels" / "cells" / "1").exists()


def test_what_was_asked_for_stays_until_what_has_changed_is_asked_for(
    config: dict[str, Any],
) -> None:
    output = Path(config["output"]["path"])
    go(config)
    soft = image_of(output, "soft")
    assert not soft.exists()
    changed = config | {"tasks": not_kept_chain(OTHER_VALUE, "soft", "bright")}
    go(changed, tasks=["soft"])
    expected = labels_of(output_of(soft) > OTHER_VALUE)
    before = ledgers(output)
    go(changed)
    assert "soft" not in counts_since(before, output)
    np.testing.assert_array_equal(output_of(output / "labels" / "cells"), expected)
    assert not soft.exists()


def test_a_task_that_nobody_reads_or_that_has_levels_is_kept(
    config: dict[str, Any],
) -> None:
    config["tasks"] = not_kept_chain(VALUE, "cells")
    del config["tasks"][-1]["table"]
    with pytest.raises(InputError, match="'cells' has keep: false, and nothing reads"):
        go(config)
    levels = {"kind": "pyramid", "name": "levels", "input": "soft"}
    config["tasks"] = [*not_kept_chain(VALUE, "soft"), levels]
    with pytest.raises(InputError, match="'soft' has keep: false, and a pyramid"):
        go(config)
    # A mask of one of its levels makes no difference.
    of_level = {"kind": "threshold", "name": "mask", "input": "levels.1", "value": 5}
    config["tasks"] = [*chain(VALUE), levels | {"levels": 1, "keep": False}, of_level]
    with pytest.raises(InputError, match=r"'levels' .* are a part of 'soft'"):
        go(config)
    assert not run_dir_of(Path(config["output"]["path"])).exists()


def test_the_command_line_tells_of_it(config: dict[str, Any], tmp_path: Path) -> None:
    path = write_config(tmp_path / "config.json", config)
    assert cli("run", path).returncode == 0
    said = here("status", path).stdout
    assert "soft: deleted" in said
    shutil.rmtree(run_dir_of(Path(config["output"]["path"])))
