"""A run that was begun: restored, held against its output, and told of its input."""

from contextlib import suppress
from pathlib import Path

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.durable import is_there
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.ome_groups import own_attributes
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir


def recorded_run(record: RunRecord, run_dir: RunDir) -> tuple[ResolvedRun, str]:
    """The run of a run.json, and what is wrong with its input, which need not be there.

    Raises
    ------
    RefusedError
        Its output is gone or another's, or the record can't be used.
    """
    run = restore(record, run_dir)
    if not is_there(run.output):
        raise RefusedError(
            f"The output {str(run.output)!r} is not there, only its run directory is."
            " Put it back, or move the run directory to where the output is now."
        )
    check_run_of(run.output, record)
    try:
        check_input(run, record)
    except Exception as error:  # noqa: BLE001 - of whatever format, on any machine
        return run, str(error)
    return run, ""


def run_dir_of(place: Path) -> RunDir:
    """The run directory of an OME-Zarr; of a task's image, that beside the output.

    None need be there.
    """
    run_dir = RunDir.of_output(place)
    own = own_attributes(place) if is_there(place) else None
    if run_dir.run_file.is_file() or own is None:
        return run_dir
    with suppress(RefusedError, ValueError):
        other = RunDir.of_output(place.with_name(str(own.get("output", place.name))))
        record = RunRecord.read(other)
        if record is not None and record.id == own.get("run"):
            return other
    return run_dir


def is_unneeded(stage: Stage, run: ResolvedRun, record: RunRecord) -> bool:
    """Whether a stage was deleted for good, since all that reads it is done."""
    kept = record.stages.get(stage.name)
    is_kept = all(task.keep for task in run.config.tasks if task.name == stage.task)
    return kept is not None and kept.is_deleted and not is_kept


def check_run_of(output: Path, record: RunRecord) -> None:
    """Refuse an output that a run has made whose record is not that beside it.

    Raises
    ------
    RefusedError
        It was moved here without its run directory, or the other way round.
    """
    made_by = (own_attributes(output) or {}).get("run", record.id)
    if made_by not in (record.id, record.replaces):
        raise RefusedError(
            f"{str(output)!r} was made by the run {made_by!r}, but the run directory"
            f" {output.name + '.run'!r} beside it is of the run {record.id!r}. Expected"
            " those of one run; put each with what belongs to it."
        )
