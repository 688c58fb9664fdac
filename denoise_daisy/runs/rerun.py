"""A run done again, from what its output says of itself and from the same input.

All that decides bytes is as it was: settings, noise numbers, chunks and shards, blocks
where these matter, the code of functions.  What can't be so is refused.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePath
from secrets import token_hex
from typing import Any

from denoise_daisy.config import Config
from denoise_daisy.durable import is_there
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.images.formats import open_image, versions_of
from denoise_daisy.images.image import Image
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.outputs.layout import named_as_folder
from denoise_daisy.outputs.ome_groups import own_attributes
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.resolved.run import ENGINES, ResolvedRun
from denoise_daisy.run_dir.record import RunRecord, StageRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.changes import changed_stages, differences, other_settings
from denoise_daisy.runs.noted import (
    check_code,
    code_told,
    noted_of,
    settings,
    understood,
)
from denoise_daisy.runs.provenance import now
from denoise_daisy.runs.run_one import Asked, Say, run_one
from denoise_daisy.sections import is_url


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What of a run that is done again may be another."""

    output: Path | None = None
    """Where it is written; None: beside what it was, as OUT_rerun.zarr."""
    source: str | None = None
    """Where the input is now; None: where it was, or beside the output as it was."""
    is_local: bool = False
    """Whether workers are processes of this machine, wherever they were."""


def rerun(path: Path, elsewhere: Elsewhere, asked: Asked, say: Say = print) -> None:
    """Do the run again that has written an OME-Zarr, or that of a task's image.

    One that was begun and has not come to its end goes on.

    Raises
    ------
    InputError, RefusedError
        It can't be done as it was; nothing was started or written.
    BlocksFailed, RunStopped, Interrupted
        As `run_one`.
    """
    path = path.absolute()
    noted = noted_of(path)
    if elsewhere.output:
        try:
            named_as_folder(str(elsewhere.output))
        except ValueError as error:
            raise InputError(f"--output: {error}.") from error
    with understood(path):
        target = (elsewhere.output or _beside(path, noted)).absolute()
        _refuse_other(target, noted)
        config = _config(path, noted, target, elsewhere)
        again = _record(noted, config)
    check_code(path, config)
    _check_input(path, config, noted, elsewhere)
    for line in code_told(config):
        say(line)
    with understood(path):
        run = resolve(config, again, again.id)
        told = list(_told(path, noted, run))
    for line in told:
        say(line)
    _refuse_changes(path, run, again)
    run_one(config, replace(asked, again=again), say)


def _beside(path: Path, noted: Mapping[str, Any]) -> Path:
    """The output's place with another name, which is not that of a task's image."""
    stages, name = noted.get("stages"), str(noted.get("output"))
    outputs = [s.get("output", "") for s in stages.values()] if stages else []
    of_tasks = {PurePath(output).parts[0] for output in outputs if output} - {name}
    whole = path.with_name(name) if path.name in of_tasks else path
    return whole.with_name(f"{whole.name.removesuffix('.zarr')}_rerun.zarr")


def _refuse_other(target: Path, noted: Mapping[str, Any]) -> None:
    """Refuse a place where something lies that is not this run, begun before."""
    record = RunRecord.read(RunDir.of_output(target))
    is_begun = record is not None and record.rerun_of == noted.get("run")
    ended = (own_attributes(target) or {}).get("ended")
    is_ended = isinstance(ended, dict) and ended.get("is_done")
    if is_there(target) and (is_ended or not is_begun):
        raise RefusedError(
            f"{str(target)!r} exists"
            + (", and this run was done again there before" if is_begun else "")
            + ". Expected a free place; name another one with --output, or move that"
            " away."
        )
    if record is not None and not is_begun:
        raise RefusedError(
            f"Beside {str(target)!r} lies the run directory of another run. Expected a"
            " free place; name another one with --output."
        )


def _config(
    path: Path, noted: Mapping[str, Any], target: Path, elsewhere: Elsewhere
) -> Config:
    """The config that the run had, with what is elsewhere now."""
    config = Config.model_validate_json(json.dumps(settings(path, noted)))
    before, threads = Path(config.output.path), config.workers.threads
    workers, tasks = config.workers, config.tasks
    if elsewhere.is_local:
        workers = LocalWorkers(
            threads_per_worker=threads,
            block_timeout_minutes=workers.block_timeout_minutes,
            max_retries=workers.max_retries,
        )
        tasks = tuple(task.model_copy(update={"workers": None}) for task in tasks)
    elif isinstance(workers, LocalWorkers):
        # As many as this machine can have.
        workers = workers.model_copy(update={"count": "auto"})
    found = config.model_copy(
        update={
            "output": config.output.model_copy(update={"path": str(target)}),
            "workers": workers,
            "tasks": tasks,
        }
    )
    asked = elsewhere.source and _absolute(elsewhere.source)
    return _with_input(found, asked or _found_input(found, before, path))


def _absolute(path: str) -> str:
    return path if is_url(path) else str(Path(path).absolute())


def _with_input(config: Config, path: str) -> Config:
    source = config.input.model_copy(update={"path": path})
    return config.model_copy(update={"input": source})


def _found_input(config: Config, before: Path, path: Path) -> str:
    """Where the input was; or, if it is not there, where it is seen from the output."""
    recorded = config.input.one.path
    if is_url(recorded) or _opens(config) is not None:
        return recorded
    seen = os.path.relpath(recorded, before.parent)
    moved = os.path.normpath(path.parent / seen)
    return moved if _opens(_with_input(config, moved)) is not None else recorded


def _opens(config: Config) -> Image | None:
    try:
        return open_image(config.input)
    except InputError:
        return None


def _record(noted: Mapping[str, Any], config: Config) -> RunRecord:
    """The record of a run that has chosen what that one had, and done nothing yet."""
    stages = {
        name: StageRecord.model_validate_json(json.dumps(kept))
        for name, kept in noted["stages"].items()
    }
    return RunRecord(
        id=token_hex(8),
        rerun_of=noted["run"],
        epoch=0,
        begun=now(),
        config=config.recorded,
        stages=stages,
        versions={},
    )


def _check_input(
    path: Path, config: Config, noted: Mapping[str, Any], elsewhere: Elsewhere
) -> None:
    """Hold the image against that which was denoised.

    Raises
    ------
    InputError
        It can't be opened.
    RefusedError
        It is another one.
    """
    source = config.input.one.path
    try:
        image = open_image(config.input)
    except InputError as error:
        more = "" if elsewhere.source else " Where it is now can be said with --input."
        raise InputError(f"{error}{more}") from error
    with understood(path):
        identity = dict(noted["input"]["identity"])
    if changes := differences(identity, image.identity):
        raise RefusedError(
            f"The input {source!r} is not the one that was denoised:"
            f" {'; '.join(changes)}. Expected the same file, and a copy with its times"
            " kept (cp -p, rsync -t); name it with --input."
        )


def _told(path: Path, noted: Mapping[str, Any], run: ResolvedRun) -> Iterator[str]:
    """What a person should know before: of which run, and which versions differ."""
    yield f"Again: the run {noted['run']} of {path}, begun {noted.get('begun')}."
    today = versions_of(run.image) | {name: version(name) for name in ENGINES}
    if changes := differences(noted.get("versions") or {}, today):
        yield f"Versions differ: {'; '.join(changes)}."
    left_out = noted.get("left_out")
    if left_out and any(p.workers.kind != "local" for p in run.pools):
        yield (
            f"Outputs do not keep {', '.join(left_out)}, which may hold secrets: jobs"
            " may lack what they need. With --local, this machine computes."
        )


def _refuse_changes(path: Path, run: ResolvedRun, again: RunRecord) -> None:
    """Refuse what would give other bytes, naming each reason.

    Raises
    ------
    RefusedError
        There is one.
    """
    changes = other_settings(run, again)
    lacking = [stage.name for stage in run.tasks if stage.name not in again.stages]
    changes += [f"{name}: nothing is noted of it" for name in lacking]
    changed = [(name, why) for name, whys in changed_stages(run) for why in whys]
    # What a task reads has other fingerprints only where that has changed itself.
    of_itself = [(n, why) for n, why in changed if not why.startswith("input ")]
    changes += [f"{name}: {why}" for name, why in of_itself or changed]
    if changes:
        raise RefusedError(
            f"What {str(path)!r} has can't be reproduced here: {'; '.join(changes)}."
            " Expected the same versions and code as then; install or restore these."
        )
