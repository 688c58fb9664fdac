"""What an output says of itself: what was done to what, by which versions.

It stands in the attributes of each image's group, under one key, from the first start
on.  Once a start has come to its end, it says as well what has computed how much.
"""

import json
import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.errors import Interrupted
from denoise_daisy.images.formats import describe
from denoise_daisy.images.original import Original
from denoise_daisy.outputs.ome_groups import note, own_attributes
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE
from denoise_daisy.runs.contrast import show_written
from denoise_daisy.runs.preflight import Preflight

FORM = 1
"""Goes up when what is noted gets another form."""

DEEPEST = 5
"""Runs one after the other whose provenance is kept."""

MOST_CHARACTERS = 200_000
"""Of the provenance of an input."""

MOST_NESTED = 100
"""Levels of it, one in the other."""

LEFT_OUT = {"left out": "it would be too long"}

logger = logging.getLogger("denoise_daisy")

_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")
"""What a URL has of a user and a password."""


def marks(run: ResolvedRun) -> dict[str, Any]:
    """By what every group is known as this run's."""
    return {
        "version": version("denoise-daisy"),
        "run": run.id,
        "fingerprint": dict(run.denoising.parameters),
    }


def provenance(
    run: ResolvedRun, original: Original, left_alone: Collection[str] = ()
) -> dict[str, Any]:
    """What is noted in the groups of a run's images when it starts.

    `original` is what the input's file tells; the stages `left_alone`, by name, are not
    this start's, and are noted as they were done.
    """
    record = run.record(0)
    # Of one that was deleted, for all that reads it is done, nothing else is known.
    before = {
        name: kept
        for name, kept in run.recorded.items()
        if name in left_alone and not kept.is_deleted
    }
    known = {**record.stages, **before}
    stages = {s.name: known[s.name].model_dump(mode="json") for s in run.stages}
    noted = {
        "form": FORM,
        "output": run.output.name,
        "config": without_environments(record.config),
        "left_out": _left_out(record.config),
        "input": _input(run, original),
        "noise": dict(run.denoiser.probed or {}),
        "engine": record.engine,
        "versions": record.versions,
        "stages": stages,
        "left_alone": sorted(before),
    }
    plain = _without_secrets(json.loads(json.dumps(noted, default=str)))
    return {**marks(run), **plain}


def _left_out(config: Mapping[str, Any]) -> list[str]:
    """Keys of a config that are not noted: shell lines of jobs may hold secrets."""
    sections = {"workers": config["workers"]}
    sections |= {f"workers of task {t['name']}": t["workers"] for t in config["tasks"]}
    return [f"{key}.environment" for key, w in sections.items() if _environment(w)]


def _environment(workers: Mapping[str, Any] | None) -> Any:
    return workers and workers.get("environment")


def without_environments(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the shell lines of jobs."""

    def without(section: Mapping[str, Any]) -> dict[str, Any]:
        workers = section["workers"]
        if not _environment(workers):
            return dict(section)
        return {**section, "workers": {**workers, "environment": None}}

    return {**without(config), "tasks": [without(task) for task in config["tasks"]]}


def _input(run: ResolvedRun, original: Original) -> dict[str, Any]:
    image = run.image
    found = {
        "path": run.config.input.one.path,
        "format": describe(image)["format"],
        "shape": list(image.shape),
        "dtype": image.dtype.name,
        "voxel_size_um": list(image.scale_um),
        "time_step_s": image.time_step_s,
        "channels": [channel.name for channel in image.channels],
        "identity": dict(image.identity),
        "steps": list(original.steps),
        "warnings": list(image.warnings),
    }
    if original.provenance is not None:
        found["provenance"] = _bounded(original.provenance)
    return found


def _bounded(before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The provenance of an input, not too deep, not too long, and JSON."""
    try:
        for most in range(DEEPEST - 1, 0, -1):
            cut = _without_secrets(_cut(before, most), MOST_NESTED)
            if len(json.dumps(cut, allow_nan=False)) <= MOST_CHARACTERS:
                return dict(cut)
    except (TypeError, ValueError, RecursionError):
        pass
    return LEFT_OUT


def _cut(before: Mapping[str, Any], most: int) -> Mapping[str, Any]:
    """The provenance of an input with so many before it, at most, and itself."""
    source = before.get("input")
    if not isinstance(source, Mapping) or not isinstance(
        inner := source.get("provenance"), Mapping
    ):
        return before
    inner = _cut(inner, most - 1) if most > 1 else LEFT_OUT
    return {**before, "input": {**source, "provenance": inner}}


def _without_secrets(value: Any, deepest: float = math.inf) -> Any:
    """The same without users and passwords of URLs; ValueError where it is deeper."""
    if deepest < 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {k: _without_secrets(inner, deepest - 1) for k, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, deepest - 1) for inner in value]
    return _USER_INFO.sub("", value) if isinstance(value, str) else value


def complete(found: Preflight, seconds: float | None = None) -> None:
    """Note in the groups of the images how far they are, and what has computed.

    What is done of them gets the contrast of what was written.

    It harms nothing that is there, and whatever hinders it is only logged.  `seconds`
    is how long the start took, if there was something to do.
    """
    if not isinstance(sys.exception(), Interrupted):
        # Who stops a run waits for its end; the next start looks at what was written.
        show_written(found.run, found.ledgers, found.left_alone)
    try:
        run, gone = found.run, {*found.left_alone, *found.unneeded}
        ledgers = {n: ledger for n, ledger in found.ledgers.items() if n not in gone}
        ended = _ended(run, ledgers, seconds)
        before = ended_before(run)
        if before and before.get("blocks") == ended["blocks"]:
            # Nothing has been computed since.
            ended = before
        for group in image_groups(run.stages):
            own = own_attributes(group) or {}
            is_noted = own.get("run") == run.id and "form" in own
            if is_noted and own.get("ended") != ended:
                note(group, {**own, "ended": ended})
    except Exception as error:  # noqa: BLE001 - it is a note, and no part of a run
        logger.warning("The outputs do not say how the run ended: %s.", error)


def ended_before(run: ResolvedRun) -> dict[str, Any] | None:
    """What a group of a run's images says of its end; None where none does."""
    for group in image_groups(run.stages):
        own = own_attributes(group) or {}
        if own.get("run") == run.id and isinstance(own.get("ended"), dict):
            return dict(own["ended"])
    return None


def image_groups(stages: Iterable[Stage]) -> list[Path]:
    """The groups of images that stages write, the output first; not those of labels."""
    arrays = [stage.array for stage in stages if stage.array is not None]
    found = (array.path.parent for array in arrays if not array.is_labels)
    return list(dict.fromkeys(found))


def _ended(
    run: ResolvedRun, ledgers: Mapping[str, Ledger], seconds: float | None
) -> dict[str, Any]:
    stages = {stage.name: stage for stage in run.stages if stage.name in ledgers}
    engines = Counter[str]()
    for name in stages:
        engines += ledgers[name].engines()
    as_is = engines.pop(NO_ENGINE, 0)
    blocks = {
        name: {
            "done": ledgers[name].done_count,
            "failed": len(ledgers[name].last_failed()),
            "of": stage.grid.size,
        }
        for name, stage in stages.items()
    }
    return {
        "time": now(),
        "is_done": all(each["done"] == each["of"] for each in blocks.values()),
        "blocks": blocks,
        "engines": dict(engines.most_common()),
        "left_as_they_were": as_is,
        **({"seconds_of_last_start": round(seconds, 1)} if seconds else {}),
    }


def now() -> str:
    """The time, as it is noted."""
    return datetime.now(UTC).isoformat(timespec="seconds")
