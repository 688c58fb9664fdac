"""What lies in the way of a start: removed, forgotten, or set aside."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from denoise_daisy.durable import TRANSIENT, delete, persistently
from denoise_daisy.errors import RefusedError
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.exit_codes import DISK_ERRORS
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.runs.output_places import recorded_place, remove_all, remove_place
from denoise_daisy.runs.preflight import Preflight
from denoise_daisy.runs.undo import mark

logger = logging.getLogger("denoise_daisy")


def make_room(found: Preflight, existing: RunRecord | None, *, overwrite: bool) -> None:
    """Remove, or set aside, what would be taken for this run's and is not."""
    run = found.run
    if overwrite:
        _remove_all(run, existing)
    elif existing is None and (aside := persistently(run.run_dir.set_aside)):
        logger.warning(
            "A run that is gone has left its ledgers; they are in %s now.", aside
        )
    if found.longer is not None:
        _undo(found)
    if found.record is not None and found.done_again:
        forget(run, found.record, found.done_again)


def _undo(found: Preflight) -> None:
    """Mark blocks as undone that are others of a longer image, see `extension`."""
    for name, entries in (found.longer.outdated if found.longer else {}).items():
        if entries:
            mark(found.ledgers[name], entries[0].epoch, entries)


def _remove_all(run: ResolvedRun, existing: RunRecord | None) -> None:
    """Delete an old run; cut short, what is left counts for nothing.

    First the record gets the new run's id: by it, workers of the old run know that it
    is over, its ledgers are another run's, and the output is still this program's.
    """
    if existing is not None:
        replaced = {"id": run.id, "replaces": existing.id}
        existing.model_copy(update=replaced).write(run.run_dir)
    with _deleting():
        persistently(run.run_dir.clear)
        persistently(partial(remove_all, run, existing))


def forget(run: ResolvedRun, record: RunRecord, names: Sequence[str]) -> None:
    """Delete what stages have done, so that whatever kills this, none of it counts.

    First the record says that they are something else now, so that no worker of an
    earlier start writes for them any more; then the ledgers go, then what they tell of.
    """
    kept = {name: record.stages[name] for name in names}
    something_else = {"fingerprint": "", "parameters": {}}
    record.with_stages(
        {name: stage.model_copy(update=something_else) for name, stage in kept.items()}
    ).write(run.run_dir)
    with _deleting():
        for name, stage in kept.items():
            persistently(partial(delete, run.run_dir.ledger(name)))
            place = recorded_place(run, name, stage)
            persistently(partial(remove_place, run, place))


@contextmanager
def _deleting() -> Iterator[None]:
    """Say what can't be deleted; nothing is done where old files are left."""
    try:
        yield
    except OSError as error:
        if error.errno in (*DISK_ERRORS, *TRANSIENT):
            raise
        raise RefusedError(
            f"{error.filename!r} of an earlier run can't be deleted ({error.strerror})."
            " Expected files that can be; correct that and start again in the same way."
        ) from error
