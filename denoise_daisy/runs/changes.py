"""What of a run is not what it was when it was started."""

from collections.abc import Iterator, Mapping
from typing import Any

from denoise_daisy.errors import RefusedError
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord

IS_DELETED = "what it had made is deleted"


def other_settings(run: ResolvedRun, record: RunRecord) -> list[str]:
    """What of the denoising is not as a run.json has it, each in words."""
    denoising = run.denoising
    kept = record.stages.get(denoising.name)
    return differences(kept.parameters if kept else {}, denoising.parameters)


def is_another(run: ResolvedRun, changes: list[str], why: str = "") -> RefusedError:
    """The refusal to go on with a run that had other settings, naming each.

    `why` is what else there is to say of it.
    """
    return RefusedError(
        f"The output {str(run.output)!r} belongs to a run with other settings or"
        f" another input: {'; '.join(changes)}. {why and f'{why} '}Restore these to go"
        " on, choose another output.path, or start over with --overwrite."
    )


def changed_stages(run: ResolvedRun) -> Iterator[tuple[str, list[str]]]:
    """Stages after the denoising that were something else before, and in what."""
    for stage in run.tasks:
        old = run.recorded.get(stage.name)
        if old is None:
            continue
        changes = differences(old.parameters, stage.parameters)
        if changes:
            yield (
                stage.name,
                [IS_DELETED] if old.is_deleted else changes,
            )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs, each in words."""
    return [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
