"""Tasks that are not kept: deleted once all that reads them is done."""

import logging
from collections.abc import Collection, Iterator, Mapping
from functools import partial

from denoise_daisy.durable import persistently
from denoise_daisy.outputs.ome_groups import unlist_labels
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.runs.clearing import forget
from denoise_daisy.runs.output_places import is_left, recorded_place
from denoise_daisy.runs.reading_back import damages_of
from denoise_daisy.tasks.stages import readers_of

logger = logging.getLogger("denoise_daisy")


def delete_unneeded(
    run: ResolvedRun, ledgers: Mapping[str, Ledger], names: Collection[str]
) -> None:
    """Delete stages that nobody needs any more, if what was made of them is right.

    Those that read them are read back first.  What an earlier start has begun to delete
    is deleted to its end.
    """
    if not names:
        return
    record = RunRecord.of(run.run_dir)
    tasks = {stage.task for stage in run.stages if stage.name in names}
    if left := list(_left(run, record, names, tasks)):
        readers = {r.name: r for task in tasks for r in readers_of(task, run.stages)}
        stages = [reader for name, reader in readers.items() if name not in names]
        if damages := damages_of(stages, {s.name: ledgers[s.name] for s in stages}):
            logger.warning(
                "What is not kept is not deleted: %s, and so on. `verify` marks what is"
                " damaged.",
                damages[0],
            )
            return
        forget(run, record, left)
        logger.info("Deleted, for all that reads it is done: %s", ", ".join(left))
    persistently(partial(unlist_labels, run.output, tasks))


def _left(
    run: ResolvedRun, record: RunRecord, names: Collection[str], tasks: Collection[str]
) -> Iterator[str]:
    """Of the stages, and the levels that they had when they were kept, what is there.

    A ledger is deleted before what it tells of: it need not be looked for.
    """
    levels = tuple(f"{task}.pyramid." for task in tasks)
    for name, kept in record.stages.items():
        if name not in names and not name.startswith(levels):
            continue
        if not kept.is_deleted or is_left(run, recorded_place(run, name, kept)):
            yield name
