"""Which change of a config, or of a version, throws away what is done, and which not.

> refused: the output belongs to a run with other settings or another input (each
> differing field is named)
> Should a task be changed, it and what reads it are done again, and nothing else.

Every field of the config stands in a table here, with a change of it and what becomes
of a run that was begun before.  A fingerprint that lacks a fact would be green in all
other tests: the run would go on over blocks of other settings.  One with a fact too
many would throw away weeks of work for a longer walltime.  Each change is held to the
words that name it, and to the stages that it costs; a change that never reached the
config, and a field that the table lacks, are red.
"""

import importlib.metadata
import inspect
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pylibCZIrw import czi

from denoise_daisy import run
from denoise_daisy.config import Config
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.preflight import Preflight
from denoise_daisy.scheduling.scheduler import Scheduler
from denoise_daisy.tasks import denoise
from harness import small_czi, small_image
from harness.fingerprint_fields import MORE, TABLE
from harness.fingerprinted import (
    CODE,
    MOVIE_SHAPE,
    RUNS,
    SHAPE,
    AnotherRun,
    Change,
    DoneAgain,
    GoesOn,
    Refused,
    Unusable,
    config_of,
    put,
    soft_again,
)
from harness.prepared import checked


def changes() -> Iterator[Any]:
    """All of them, by name."""
    for section, (begun, place, fields) in TABLE.items():
        for field, change in fields.items():
            if isinstance(change, tuple):
                where = place if field == "kind" else f"{place}.{field}".strip(".")
                yield pytest.param(
                    Change(begun, where, *change), id=f"{section}.{field}"
                )
            elif change is not None:
                yield pytest.param(change, id=f"{section}.{field}")
    for name, change in MORE.items():
        yield pytest.param(change, id=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two images, its copies, another, and the code of the functions."""
    folder = tmp_path_factory.mktemp("fingerprints")
    with czi.create_czi(str(folder / "in.czi")) as writer:
        for scene in (0, 1):
            image = small_image(SHAPE, seed=scene)
            for t, c, z in np.ndindex(SHAPE[:3]):
                writer.write(
                    image[t, c, z, :, :, np.newaxis],
                    plane={"T": t, "C": c, "Z": z},
                    location=(0, 100 * scene),
                    scene=scene,
                )
        writer.write_metadata("two scenes")
    # Times and all, by which a file is known.
    shutil.copy2(folder / "in.czi", folder / "copy.czi")
    shutil.copy(folder / "in.czi", folder / "written.czi")
    os.utime(folder / "written.czi", (1_000_000_000, 1_000_000_000))
    small_czi(folder / "other.czi", SHAPE)
    small_czi(folder / "movie.czi", MOVIE_SHAPE)
    for name in ("code", "moved"):
        (folder / name).mkdir()
        (folder / name / "own.py").write_text(CODE)
    return folder


def load(config: dict[str, Any], folder: Path) -> Config:
    return Config.parse(json.dumps(config).encode(), name="test", folder=folder)


@pytest.fixture(scope="module")
def recorded(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RunRecord]]:
    """The run.json of each run, after a start that has come to no block.

    Batch systems take any job, and do none.
    """
    programs, records = tmp_path_factory.mktemp("bin"), {}
    for name in ("sbatch", "squeue", "scancel", "bsub", "bjobs", "bkill"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(programs), prepend=":")
        with patch.context() as at_start:
            at_start.setattr(Scheduler, "run", lambda _: None)
            for name in RUNS:
                config = load(config_of(name), folder)
                run(config, unchecked_ndsafir=True, say=lambda _: None)
                records[name] = RunRecord.of(RunDir(folder / f"{name}.zarr.run"))
        yield records


def start(config: dict[str, Any], folder: Path) -> Preflight:
    """What a start of this config would do; nothing is written."""
    return checked(load(config, folder))


def own_changes(plan: Preflight) -> dict[str, list[str]]:
    """What of each stage has changed, besides what it reads and a function's code."""
    others = ("input ", "code", "package ")
    return {
        stage: [change for change in changes if not change.startswith(others)]
        for stage, changes in plan.changed.items()
    }


def changes_of(refused: RefusedError) -> list[str]:
    """What a message has of other settings, or of another input."""
    said = str(refused).partition("another input: ")[2]
    return said.partition(". Restore these")[0].split("; ")


def check_again(plan: Preflight, stages: dict[str, str]) -> None:
    found = own_changes(plan)
    assert found.keys() == stages.keys()
    for stage, why in stages.items():
        assert plan.changed[stage]
        if why:
            assert why in found[stage], found[stage]
        else:
            assert found[stage] == [], stage


def sections() -> dict[str, dict[str, Any]]:
    """The properties of every section, as the JSON Schema has them."""
    schema = Config.model_json_schema()
    every = {"Config": schema} | schema["$defs"]
    return {name: section["properties"] for name, section in every.items()}


def test_the_table_has_every_field_of_every_section() -> None:
    fields = {name: sorted(found) for name, found in sections().items()}
    assert {name: sorted(TABLE[name][2]) for name in TABLE} == fields


def test_only_sections_are_left_to_their_own_fields() -> None:
    for name, found in sections().items():
        for field, schema in found.items():
            is_left = TABLE[name][2][field] is None
            assert not is_left or "#/$defs/" in json.dumps(schema), f"{name}.{field}"


@pytest.mark.parametrize("name", RUNS)
def test_the_same_config_goes_on(
    name: str, folder: Path, recorded: dict[str, RunRecord]
) -> None:
    """Else what is refused or done again below might be for another reason."""
    plan = start(config_of(name), folder)
    assert plan.record == recorded[name]
    assert plan.changed == {}
    assert {stage.name for stage in plan.run.stages} == recorded[name].stages.keys()


@pytest.mark.parametrize("change", [*changes()])
def test_a_change_of_a_field_has_the_effect_that_the_table_says(
    change: Change, folder: Path, recorded: dict[str, RunRecord]
) -> None:
    config = config_of(change.run)
    before = load(config, folder)
    put(config, change.place, change.value)
    assert load(config, folder) != before
    if isinstance(change.effect, Refused):
        with pytest.raises(RefusedError) as caught:
            start(config, folder)
        assert change.effect.words in changes_of(caught.value)
        return
    if isinstance(change.effect, Unusable):
        with pytest.raises(InputError) as unusable:
            start(config, folder)
        assert change.effect.words in str(unusable.value)
        return
    plan = start(config, folder)
    if isinstance(change.effect, AnotherRun):
        assert plan.record is None
        return
    assert plan.record == recorded[change.run]
    stages = {stage.name for stage in plan.run.stages}
    new = change.effect.new if isinstance(change.effect, GoesOn) else ()
    assert stages - recorded[change.run].stages.keys() == set(new)
    check_again(
        plan, change.effect.stages if isinstance(change.effect, DoneAgain) else {}
    )


ANOTHER = "0.0.1"

VERSIONS: dict[str, tuple[str, str, Refused | DoneAgain | GoesOn]] = {
    "scipy of a median": ("median", "scipy", Refused("scipy")),
    "scipy of a Gaussian": ("gaussian", "scipy", Refused("scipy")),
    "scipy of smoothing": ("ndsafir", "scipy", soft_again("scipy")),
    "scikit-image of a threshold that is found": (
        "median",
        "scikit-image",
        DoneAgain(dict.fromkeys(("found.value", "found"), "scikit-image")),
    ),
    "scikit-image of a threshold that is given": (
        "no shards",
        "scikit-image",
        GoesOn(),
    ),
    "ndsafir": ("ndsafir", "ndsafir", Refused("ndsafir")),
    "ndsafir, inexact": ("two threads", "ndsafir", Refused("ndsafir")),
    "ndsafir that denoises nothing": ("median", "ndsafir", GoesOn()),
    "scipy that filters nothing": ("gaussian noise", "scipy", GoesOn()),
    "numpy": ("median", "numpy", GoesOn()),
    "zarr": ("median", "zarr", GoesOn()),
    "daisy": ("ndsafir", "daisy", GoesOn()),
    "denoise-daisy": ("ndsafir", "denoise-daisy", GoesOn()),
}
"""A run, a library of which another version is installed, and what comes of it."""


@pytest.mark.parametrize("name", VERSIONS)
def test_another_version_of_a_library_counts_where_its_results_may_differ(
    name: str,
    folder: Path,
    recorded: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, library, effect = VERSIONS[name]
    said = f"{library} was {importlib.metadata.version(library)!r}, is {ANOTHER!r}"
    # Its own class: importlib_metadata, where it is imported, has others.
    kind = type(importlib.metadata.distribution(library))
    is_told = inspect.getattr_static(kind, "version").fget

    def version(self: importlib.metadata.Distribution) -> str:
        return ANOTHER if self.name == library else is_told(self)

    monkeypatch.setattr(kind, "version", property(version))
    assert importlib.metadata.version(library) == ANOTHER
    if isinstance(effect, Refused):
        with pytest.raises(RefusedError) as caught:
            start(config_of(begun), folder)
        assert changes_of(caught.value) == [said]
        return
    plan = start(config_of(begun), folder)
    assert plan.record == recorded[begun]
    stages = effect.stages if isinstance(effect, DoneAgain) else {}
    check_again(plan, {stage: why and said for stage, why in stages.items()})


def test_another_algorithm_of_this_program_is_refused(
    folder: Path, recorded: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recorded
    was = denoise.ALGORITHM
    monkeypatch.setattr(denoise, "ALGORITHM", was + 1)
    with pytest.raises(RefusedError, match=f"algorithm was {was}, is {was + 1}"):
        start(config_of("median"), folder)


@pytest.mark.parametrize(
    ("path", "scene", "differs"),
    [
        ("written.czi", 0, ["mtime_ns"]),
        ("other.czi", None, ["size", "mtime_ns", "guid", "directory_sha256"]),
    ],
)
def test_an_image_is_told_from_another_by_all_that_is_known_of_it(
    path: str,
    scene: int | None,
    differs: list[str],
    folder: Path,
    recorded: dict[str, RunRecord],
) -> None:
    """And from itself, should it have been written to, by the time of that."""
    assert recorded
    config = config_of("no shards")
    config["input"] = {"path": path, "scene": scene}
    with pytest.raises(RefusedError) as caught:
        start(config, folder)
    found = [change.partition(" was ")[0] for change in changes_of(caught.value)]
    facts = [f"input {fact}" for fact in differs]
    assert found == (facts if scene == 0 else [*facts, "input.scene"])
