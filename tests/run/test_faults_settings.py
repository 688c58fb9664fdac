"""Another config or another input is refused, or costs what it must."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy import run
from denoise_daisy.errors import RefusedError
from harness import here, load, write_config
from harness.trials import ALL, Trial, marked_image
from harness.waiting import PATIENCE

CHANGES: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "input.roi": (
        "input.roi",
        [[0, 1], [0, 2], [0, 128], [0, 96]],
        [[0, 1], [0, 2], [0, 64], [0, 96]],
        {"input": {"roi": {"y": [0, 64]}}},
    ),
    "input.channels": ("input.channels", None, [0], {"input": {"channels": [0]}}),
    "output.dtype": (
        "output.dtype",
        "float32",
        "uint16",
        {"output": {"dtype": "input"}},
    ),
    "output.chunks": (
        "output.chunks",
        [1, 1, 2, 16, 16],
        [1, 1, 2, 32, 16],
        {"output": {"chunks": {"y": 32, "x": 16}}},
    ),
    "output.shards": (
        "output.shards",
        [1, 1, 2, 32, 32],
        [1, 1, 2, 16, 32],
        {"output": {"shards": {"y": 16, "x": 32}}},
    ),
    "no shards": (
        "output.shards",
        [1, 1, 2, 32, 32],
        None,
        {"output": {"shards": None}},
    ),
    "compression": (
        "output.compression_level",
        1,
        2,
        {"output": {"compression_level": 2}},
    ),
    "patch": (
        "denoise.patch",
        [0, 0, 1, 1],
        [0, 0, 2, 1],
        {"denoise": {"patch": {"y": 2, "x": 1}}},
    ),
    "active_dimensions": (
        "denoise.active_dimensions",
        "zyx",
        "yx",
        {"denoise": {"active_dimensions": "yx"}},
    ),
    "max_iter": ("denoise.max_iter", 2, 3, {"denoise": {"max_iter": 3}}),
    "pvalue": ("denoise.pvalue", 0.1, 0.2, {"denoise": {"pvalue": 0.2}}),
    "noise.kind": (
        "noise.kind",
        "poisson-gaussian",
        "gaussian",
        {"noise": {"kind": "gaussian", "noise_std": 30.0}},
    ),
    "gains": (
        "noise.gains",
        [3.92],
        [4.0],
        {"noise": {"kind": "poisson-gaussian", "gains": [4.0], "offsets": [-367.0]}},
    ),
    "offsets": (
        "noise.offsets",
        [-367.0],
        [-300.0],
        {"noise": {"kind": "poisson-gaussian", "gains": [3.92], "offsets": [-300.0]}},
    ),
    "threads": (
        "workers.threads_per_worker",
        None,
        2,
        {"denoise": {"engine": "ndsafir"}, "workers": {"threads_per_worker": 2}},
    ),
    "context": ("exact", True, False, {"blocks": {"context": {"y": 2}}}),
}
"""Name in the fingerprint, its old and its new value, and the sections to change."""


def test_a_changed_setting_is_refused_with_its_old_and_new_value(
    finished: Trial,
) -> None:
    good, files = finished.config, finished.contents()
    for field, old, new, sections in CHANGES.values():
        changed = {
            name: good.get(name, {}) | sections.get(name, {})
            if name != "noise"
            else sections.get("noise", good["noise"])
            for name in good
        }
        with pytest.raises(RefusedError) as error:
            run(load(changed))
        assert f"{field} was {old!r}, is {new!r}" in str(error.value)
        assert "--overwrite" in str(error.value)
    record = json.loads((finished.run_dir / "run.json").read_text())
    parameters = record["stages"]["denoise"]["parameters"]
    known = {name for name in parameters if not name.startswith("input ")}
    not_changed = {
        "ndsafir",
        "algorithm",
        "denoise.kind",
        "input.axes",
        "input.scene",
        "input.select",
        "noise.noise_std",
    }
    assert known - not_changed <= {field for field, *_ in CHANGES.values()}
    write_config(finished.path, good | {"denoise": good["denoise"] | {"max_iter": 3}})
    for verb in ("run", "plan"):
        end = here(verb, finished.path)
        assert end.returncode == 4, end.stderr
        assert "denoise.max_iter was 2, is 3" in end.stderr
        assert "Traceback (most recent" not in end.stderr
    assert finished.contents() == files
    write_config(finished.path, good)
    assert finished.finish() == []


@pytest.mark.parametrize(("name", "version"), [("ndsafir", "2020.1"), ("algorithm", 0)])
def test_another_version_is_refused(finished: Trial, name: str, version: Any) -> None:
    file = finished.run_dir / "run.json"
    record = json.loads(file.read_text())
    parameters = record["stages"]["denoise"]["parameters"]
    ours = parameters[name]
    parameters[name] = version
    file.write_text(json.dumps(record))
    end = here("run", finished.path)
    assert end.returncode == 4, end.stderr
    assert f"{name} was {version!r}, is {ours!r}" in end.stderr
    parameters[name] = ours
    file.write_text(json.dumps(record))
    assert finished.finish() == []


def test_settings_that_change_no_byte_may_change(trial: Trial) -> None:
    with trial.running("--grace", "1", free=4) as scheduler:
        trial.wait_for_begun(6)
        scheduler.send_signal(signal.SIGINT)
        scheduler.communicate(timeout=PATIENCE)
    done = trial.done()
    assert len(done) == 4
    trial.change(
        workers={"count": 3, "block_timeout_minutes": 9, "max_retries": 7},
        output={"durability": "none"},
    )
    trial.change(workers={"threads_per_worker": 2})
    trial.change(blocks={"memory_gib": 1.5})
    moved = trial.folder / "moved.czi"
    trial.source.rename(moved)
    trial.change(input={"path": str(moved)})
    assert trial.finish() == sorted(ALL - set(done))
    said = [line for line in trial.log().splitlines() if "Denoising with" in line]
    threads = [line.rpartition(", ")[2] for line in said]
    assert threads == ["1 threads per worker.", "2 threads per worker."]


def test_a_changed_input_is_refused_by_those_who_read_it(
    finished: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    """`status` and `verify`, which look at the output only, say so and go on."""
    stamp = finished.source.stat()
    kept = shutil.copy2(finished.source, finished.folder / "kept.czi")

    def said() -> Iterator[str]:
        for verb, code in ("run", 4), ("plan", 4), ("verify", 0), ("status", 0):
            caplog.clear()
            end = here(verb, finished.path)
            assert end.returncode == code, (verb, end.stderr)
            assert "Traceback (most recent" not in end.stderr
            told = {"verify": caplog.text, "status": end.stdout}.get(verb, end.stderr)
            yield "".join(x for x in told.splitlines() if code or "The input" in x)

    os.utime(finished.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
    assert all("mtime_ns" in line for line in said())
    finished.source.unlink()
    write_czi(finished.source, marked_image()[:, :, :, ::-1])
    os.utime(finished.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert all("guid" in line for line in said())
    shutil.copy2(kept, finished.source)
    assert finished.finish() == []


def test_a_finished_run_can_be_verified_without_its_input(finished: Trial) -> None:
    """As it is when the raw file has gone to an archive."""
    finished.source.unlink()
    end = here("status", finished.output)
    assert end.returncode == 0, end.stderr
    assert "denoise: 12 done" in end.stdout
    (line,) = (x for x in end.stdout.splitlines() if x.startswith("input: "))
    assert "in.czi" in line
    assert here("verify", finished.output).returncode == 0
    finished.shard(7).unlink()
    end = here("verify", finished.output)
    assert end.returncode == 3
    assert "denoise block [0, 0, 2, 1]" in end.stderr


def test_an_input_that_changes_during_the_run_stops_it(trial: Trial) -> None:
    """Workers that run read what they opened; no new one starts on another image."""
    stamp = trial.source.stat()
    with trial.running(sleep=600) as scheduler:
        trial.wait_for_two_at_work()
        os.utime(trial.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 10**9))
        for worker in trial.workers():
            worker.kill()
        _, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 5, errors
    assert "has changed since the run was started" in errors
    assert trial.done() == []
    os.utime(trial.source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert trial.finish() == sorted(ALL)


def test_another_block_shape_goes_on_with_what_is_done(trial: Trial) -> None:
    """Half with 32 x 32, a part with 16 x 16, the rest with 64 x 32 voxels."""
    trial.change(output={"shards": {"y": 16, "x": 16}})
    for shape, count in ({"y": 32, "x": 32}, 5), ({"y": 16, "x": 16}, 7):
        trial.change(blocks={"shape": shape})
        trial.hook.forget()
        with trial.running("--grace", "1", free=count) as scheduler:
            trial.wait_for_begun(count + 2)
            scheduler.send_signal(signal.SIGINT)
            _, errors = scheduler.communicate(timeout=PATIENCE)
        assert scheduler.returncode == 130, errors
    covered = np.zeros((128, 96), int)
    for line in trial.lines("done"):
        y, x = (
            i * n for i, n in zip(line["block"][2:], line["shape"][2:], strict=True)
        )
        covered[y : y + line["shape"][2], x : x + line["shape"][3]] += 1
    assert covered.max() == 1
    assert {tuple(line["shape"]) for line in trial.lines("done")} == {
        (1, 2, 32, 32),
        (1, 2, 16, 16),
    }
    undone = [
        [0, 0, y, x]
        for y, x in np.ndindex(2, 3)
        if not covered[64 * y : 64 * y + 64, 32 * x : 32 * x + 32].all()
    ]
    assert 0 < len(undone) < 6
    trial.change(blocks={"shape": {"y": 64, "x": 32}})
    trial.size = 6
    before = len(trial.begun())
    trial.finish()
    assert len(trial.begun()) - before == len(undone)
    large = [line for line in trial.lines("done") if line["shape"][2] == 64]
    assert sorted(line["block"] for line in large) == undone
