"""What of a run and its input is noted in an output, and what never is."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_daisy.errors import BlocksFailed, Interrupted, RefusedError
from denoise_daisy.images.original import Original
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.runs import provenance as kept
from denoise_daisy.runs.noted import settings
from denoise_daisy.runs.provenance import MOST_CHARACTERS, provenance
from denoise_daisy.runs.rerun import _refuse_changes
from harness import config_for, load, small_czi

SLURM = {"kind": "slurm", "count": 1, "memory_gib": 1, "time": "1:00:00"}


def noted(folder: Path, original: Original, **sections: Any) -> dict[str, Any]:
    """What is noted of a run that has not begun."""
    source = small_czi(folder / "in.czi", (1, 1, 2, 16, 16))
    config = config_for(source, folder / "out.zarr") | sections
    return provenance(resolve(load(config), None, "new"), original)


def nested(depth: int, **more: Any) -> dict[str, Any]:
    """The provenance of an image that was denoised so often before."""
    inner = {"provenance": nested(depth - 1)} if depth else {}
    return {"run": f"run {depth}", "input": {"path": "a", **inner}} | more


def deep(levels: int) -> dict[str, Any]:
    """What no run of this program has noted."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_neither_shell_lines_of_jobs_nor_passwords_are_noted(tmp_path: Path) -> None:
    task = {
        "kind": "function",
        "name": "own",
        "function": "os.path:join",
        "dtype": "uint16",
        "channels": 1,
        "params": {
            "model": "https://me:sesame@example.org/a",
            "list": ["s3://k:v@b/c"],
        },
        "workers": SLURM | {"environment": "export TOKEN=sesame"},
    }
    own = noted(
        tmp_path,
        Original(),
        workers=SLURM | {"environment": "export TOKEN=sesame"},
        tasks=[task],
    )
    assert "sesame" not in json.dumps(own)
    assert own["left_out"] == ["workers.environment", "workers of task own.environment"]
    params = own["config"]["tasks"][0]["params"]
    assert params == {"model": "https://example.org/a", "list": ["s3://b/c"]}
    assert own["config"]["workers"]["time"] == "1:00:00"


def test_shell_lines_of_jobs_are_not_taken_from_an_output(tmp_path: Path) -> None:
    """Nor whom to tell: no output of this program has them."""
    workers = SLURM | {"environment": "touch a"}
    noted = {
        "output": "out.zarr",
        "run": "1",
        "config": {
            "notify": {"command": ["touch"]},
            "workers": workers,
            "tasks": [{"name": "own", "workers": workers}],
        },
    }
    taken = settings(tmp_path / "out.zarr", noted)
    assert "touch" not in json.dumps(taken)
    assert taken["workers"]["time"] == "1:00:00"


def test_what_was_done_before_is_noted_as_it_was(tmp_path: Path) -> None:
    before = nested(3)
    own = noted(tmp_path, Original(steps=("Deconvolution",), provenance=before))
    assert own["input"]["provenance"] == before
    assert own["input"]["steps"] == ["Deconvolution"]
    assert own["left_out"] == []


def test_a_long_past_is_cut_off(tmp_path: Path) -> None:
    own, runs = noted(tmp_path, Original(provenance=nested(900))), []
    while "run" in own:
        runs.append(own["run"])
        own = own["input"]["provenance"]
    assert runs[1:] == [f"run {n}" for n in range(900, 895, -1)][: len(runs) - 1]
    assert 4 <= len(runs) <= 6
    assert own == {"left out": "it would be too long"}


def test_what_is_too_long_or_odd_is_left_out(tmp_path: Path) -> None:
    for odd in (
        nested(2, more="x" * (MOST_CHARACTERS + 1)),
        {"run": 3, "input": {"provenance": 5}},
        {"input": [1]},
        {},
        deep(600),
        {"noise": float("nan")},
    ):
        own = noted(tmp_path, Original(provenance=odd))
        assert len(json.dumps(own, allow_nan=False)) < MOST_CHARACTERS
        (tmp_path / "in.czi").unlink()


def test_a_stage_that_is_left_alone_is_noted_as_it_was_done(tmp_path: Path) -> None:
    """Its new settings are in the config only."""
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))
    config = config_for(source, tmp_path / "out.zarr")
    smooth = {"kind": "smooth", "name": "soft", "sigma": 1.0}
    before = resolve(load(config | {"tasks": [smooth]}), None, "new").record(1)
    changed = load(config | {"tasks": [smooth | {"sigma": 2.0}]})
    run = resolve(changed, before, "new")
    own = provenance(run, Original(), ["soft"])
    assert own["left_alone"] == ["soft"]
    assert own["stages"]["soft"] == before.stages["soft"].model_dump(mode="json")
    assert own["stages"]["denoise"] == before.stages["denoise"].model_dump(mode="json")
    again = resolve(changed, before, before.id)
    with pytest.raises(RefusedError, match=r"soft: .*was .*1\.0.*, is .*2\.0"):
        _refuse_changes(tmp_path / "out.zarr", again, before)
    lacking = before.model_copy(
        update={"stages": {"denoise": before.stages["denoise"]}}
    )
    again = resolve(changed, lacking, before.id)
    with pytest.raises(RefusedError, match="soft: nothing is noted of it"):
        _refuse_changes(tmp_path / "out.zarr", again, lacking)


def test_a_start_that_was_interrupted_looks_at_no_voxels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any other end does."""
    shown: list[object] = []
    monkeypatch.setattr(kept, "show_written", lambda *all_: shown.append(all_))
    found: Any = SimpleNamespace(run=None, ledgers={}, left_alone=(), unneeded=())
    for end in (Interrupted("stopped", 15), BlocksFailed("failed")):
        with pytest.raises(type(end)):
            _end_by(end, found)
    assert shown == [(None, {}, ())]


def _end_by(end: Exception, found: Any) -> None:
    try:
        raise end
    finally:
        kept.complete(found)
