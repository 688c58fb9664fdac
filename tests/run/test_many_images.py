"""Many images in one run: one set of workers, an output and a run for each.

Expected voxels come from SciPy on the whole of each image.  A green run would mean
nothing if each image had workers of its own: the ledgers name who did the blocks.
"""

import csv
import json
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from scipy import ndimage

from harness import (
    cli,
    here,
    ledger_lines,
    output_of,
    processes_of,
    small_image,
    start,
    wait_until,
    write_config,
)
from harness.waiting import PATIENCE, short_waits

SHAPE = (1, 1, 4, 40, 40)

MARKED, BRIGHT = "image_0", 60000
"""An image, and grey levels in its first block, by which a function knows it."""

MEDIAN = {"kind": "median", "size": {"y": 3, "x": 3}}


class Folder:
    """A folder of images, and a config for all of them."""

    def __init__(self, folder: Path, images: int, **sections: Any) -> None:
        self.folder = folder
        self.outputs = folder / "out"
        (folder / "in").mkdir()
        self.voxels: dict[str, np.ndarray] = {}
        for i in range(images):
            self.add(f"image_{i}", seed=i)
        config: dict[str, Any] = {
            "input": {"path": "in/*.czi"},
            "output": {"path": "out", "chunks": {"z": 2, "y": 16, "x": 16}},
            "denoise": MEDIAN,
            "blocks": {"shape": {"z": 2}},
            "workers": {"kind": "local", "count": 2},
        }
        self.config = write_config(folder / "config.json", config | sections)

    def add(self, name: str, seed: int) -> None:
        self.voxels[name] = small_image(SHAPE, seed)
        if name == MARKED:
            self.voxels[name][:, :, 0, 10:20, 10:20] = BRIGHT
        write_czi(self.folder / "in" / f"{name}.czi", self.voxels[name])

    def output(self, name: str) -> Path:
        return self.outputs / f"{name}.zarr"

    def run_dir(self, name: str) -> Path:
        return self.outputs / f"{name}.zarr.run"

    def check(self, names: Sequence[str] | None = None) -> None:
        """Each is the whole image's median."""
        for name in names or self.voxels:
            wanted = ndimage.median_filter(self.voxels[name], (1, 1, 1, 3, 3))
            np.testing.assert_array_equal(output_of(self.output(name)), wanted)

    def workers(self, name: str) -> set[str]:
        """Who did blocks of an image."""
        return {line["worker"] for line in ledger_lines(self.output(name))}

    def table(self) -> list[dict[str, str]]:
        with (self.folder / "out.run" / "images.csv").open() as file:
            return list(csv.DictReader(file))


def check_pages(it: Folder, said: str) -> None:
    """A page of all of them leads to that of each; only the bad one has none."""
    hub = it.folder / "out.run"
    assert f"Page: {hub / 'status.html'}" in said
    page = (hub / "status.html").read_text("utf-8")
    assert "Not all images are done" in page
    assert "4 of 5 images are done, 0 at work, 1 failed, 0 left." in page
    assert "cut short" in page
    links = re.findall(r'<a href="([^"]*)">(image_[^<]*)</a>', page)
    assert [name for _, name in links] == [*it.voxels]
    for link, name in links:
        page = (hub / link).read_text("utf-8")
        assert f"<h1>{name}.zarr</h1>" in page
        assert " of 2 blocks done" in page


def test_workers_go_from_image_to_image_and_a_bad_one_fails_by_itself(
    tmp_path: Path,
) -> None:
    it = Folder(tmp_path, 4)
    bad = tmp_path / "in" / "image_10.czi"
    bad.write_bytes(b"ZISRAWFILE")
    ended = cli(it.config, env=short_waits(page=1, last_page=PATIENCE, idle=PATIENCE))
    assert ended.returncode == 3, ended.stderr
    check_pages(it, ended.stdout)
    assert "image_10 (refused)" in ended.stderr
    assert "cut short" in ended.stderr
    it.check()
    assert len(set.union(*(it.workers(name) for name in it.voxels))) <= 2
    rows = {row["image"]: row for row in it.table()}
    assert [*rows] == [*it.voxels, "image_10"]  # 10 after 3
    assert {row["status"] for name, row in rows.items() if name in it.voxels} == {
        "done"
    }
    assert (rows["image_3"]["blocks"], rows["image_10"]["blocks"]) == ("2", "0")
    assert rows["image_10"]["output"] == str(it.output("image_10"))
    assert not it.output("image_10").exists()
    before = {name: [*ledger_lines(it.output(name))] for name in it.voxels}

    # A new file, and the bad one mended, are found by the next start.
    bad.unlink()
    it.add("image_10", seed=10)
    it.add("later", seed=11)
    ended = cli(it.config)
    assert ended.returncode == 0, ended.stderr
    it.check()
    assert {name: [*ledger_lines(it.output(name))] for name in before} == before
    assert "6 of 6 images are done" in ended.stdout

    # Each is a run of its own, which status and verify take alone and together.
    alone = here("status", it.output("later"))
    assert "denoise: 2 done, 0 failed, 0 left of 2 blocks" in alone.stdout
    together = here("status", it.config)
    assert together.stdout.count("2/2 blocks (100.0% done)") == 6
    assert here("verify", tmp_path / "out").returncode == 0
    one = json.loads(it.config.read_text())
    one["input"]["path"], one["output"]["path"] = "in/later.czi", "out/later.zarr"
    said = here(write_config(tmp_path / "one.json", one))
    assert "All 2 blocks were done before" in said.stdout


def test_all_images_that_can_not_be_are_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    it = Folder(tmp_path, 0)
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.czi").write_bytes(b"no image")
    ended = here(it.config)
    assert ended.returncode == 2
    assert "2 of 2 images could not be done" in ended.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "in"]


FUNCTION = """
import os, sys, time
from pathlib import Path

IN_WORKER = "worker" in sys.argv[0]  # not where the function is tried

def wait(block, context):
    flag = Path(os.environ["FLAG"])
    while IN_WORKER and flag.exists() and block.max() > 50000:
        time.sleep(0.05)
    return block

def crash(block, context):
    if IN_WORKER and block.max() > 50000:
        os.abort()
    return block
"""


def test_a_block_that_kills_its_workers_fails_in_its_image_alone(
    tmp_path: Path,
) -> None:
    task = {"kind": "function", "name": "f", "function": "code:crash"}
    it = Folder(
        tmp_path,
        3,
        tasks=[task],
        workers={"kind": "local", "count": 2, "max_retries": 0},
    )
    (tmp_path / "code.py").write_text(FUNCTION)
    ended = cli(it.config)
    assert ended.returncode == 3, ended.stderr
    assert f"{MARKED} (failed)" in ended.stderr
    it.check()
    # Another worker may get the block before it is known that the first has crashed.
    failed = {
        (*line["block"], line["reason"])
        for image in it.voxels
        for line in ledger_lines(it.output(image), "f")
        if line["status"] == "failed"
    }
    rows = {row["image"]: row for row in it.table()}
    assert int(rows[MARKED]["failed"]) == len(failed) > 0
    assert {reason for *_, reason in failed} == {"crash"}
    assert all(rows[n]["status"] == "done" for n in it.voxels if n != MARKED)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_start_that_is_killed_or_stopped_goes_on_where_it_was(
    how: signal.Signals, tmp_path: Path
) -> None:
    task = {"kind": "function", "name": "f", "function": "code:wait"}
    it = Folder(tmp_path, 4, tasks=[task])
    (tmp_path / "code.py").write_text(FUNCTION)
    flag = tmp_path / "flag"
    flag.touch()
    env = {"FLAG": str(flag)}
    process = start(it.config, "--grace", "0.2", env=env)
    others = [n for n in it.voxels if n != MARKED]

    def is_stuck() -> bool:
        return all(len([*ledger_lines(it.output(n), "f")]) == 2 for n in others)

    wait_until(is_stuck, "all but one image are done")
    os.kill(process.pid, how)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130), errors
    if how == signal.SIGINT:
        assert "Stopped by SIGINT" in errors
        assert "of 4 images are done" in said
    wait_until(lambda: not processes_of(tmp_path / "out.run"), "no worker is left")
    before = {n: [*ledger_lines(it.output(n))] for n in others}
    flag.unlink()
    ended = cli(it.config, env=env)
    assert ended.returncode == 0, ended.stderr
    assert {n: [*ledger_lines(it.output(n))] for n in others} == before
    it.check()


def test_somebody_is_told_once_of_all_and_of_the_first_block_given_up(
    tmp_path: Path,
) -> None:
    tell = tmp_path / "tell"
    tell.write_text("#!/bin/sh\ncat >>told\necho >>told\n")
    it = Folder(
        tmp_path,
        3,
        tasks=[{"kind": "function", "name": "f", "function": "code:crash"}],
        workers={"kind": "local", "count": 2, "max_retries": 0},
        notify={"command": ["./tell"]},
    )
    (tmp_path / "code.py").write_text(FUNCTION)
    refused = here(it.config)
    assert refused.returncode == 2
    assert "'notify.command'" in refused.stderr
    assert not it.outputs.exists()
    tell.chmod(0o755)
    ended = cli(it.config, cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    first, last = (values for values in told if values)
    assert first["event"] == "block_given_up"
    assert f"of f of {MARKED} was given up" in first["message"]
    assert (last["event"], last["exit_code"]) == ("stopped", 3)
    assert last["blocks"]["done"] == last["blocks"]["total"] - int(
        next(row["failed"] for row in it.table() if row["image"] == MARKED)
    )


def test_noise_is_shared_and_later_images_get_the_same(tmp_path: Path) -> None:
    it = Folder(
        tmp_path,
        2,
        denoise={"patch": {"y": 1, "x": 1}, "max_iter": 1},
        noise={"shared": True},
        tasks=[
            {"kind": "smooth", "name": "soft", "sigma": {"x": 1}, "keep": False},
            {"kind": "threshold", "name": "bright", "input": "soft", "value": 500.0},
        ],
    )
    ended = cli(it.config)
    assert ended.returncode == 0, ended.stderr
    it.add("later", seed=7)
    assert cli(it.config).returncode == 0
    numbers = [
        json.loads((it.run_dir(name) / "run.json").read_text())["stages"]["denoise"][
            "parameters"
        ]["noise.gains"]
        for name in it.voxels
    ]
    assert numbers[0] == numbers[1] == numbers[2]
    assert {row["gains"] for row in it.table()} == {f"{numbers[0][0]:g}"}
    # What only other tasks read, and is deleted since, is not missed.
    assert "3 of 3 images are done" in here("status", it.config).stdout
    kept = json.loads((tmp_path / "out.run" / "images.json").read_text())
    assert kept["noise"]["gains"] == numbers[0]
    planned = json.loads(here("plan", "--json", it.config).stdout)
    assert {tuple(p["denoiser"]["noise"]["gains"]) for p in planned.values()} == {
        tuple(numbers[0])
    }


def test_a_plan_tells_of_each_image_and_of_all(tmp_path: Path) -> None:
    it = Folder(tmp_path, 2)
    said = here("plan", it.config).stdout
    assert "2 of 2 images, 4 blocks" in said
    assert str(it.output("image_1")) in said
    values = json.loads(here("plan", "--json", it.config).stdout)
    assert values["image_1"]["blocks"]["count"] == 2
    assert not it.outputs.exists()


def test_another_scheduler_of_the_same_images_is_refused(tmp_path: Path) -> None:
    task = {"kind": "function", "name": "f", "function": "code:wait"}
    it = Folder(tmp_path, 1, tasks=[task])
    (tmp_path / "code.py").write_text(FUNCTION)
    flag = tmp_path / "flag"
    flag.touch()
    process = start(it.config, env={"FLAG": str(flag)})
    wait_until(
        lambda: len([*ledger_lines(it.output(MARKED))]) == 2, "the image is begun"
    )
    ended = here(it.config)
    assert ended.returncode == 4
    assert "at work on this output already" in ended.stderr
    flag.unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0
    it.check()
