"""Tasks that are not kept: deleted once all that reads them is done."""

import logging
from collections.abc import Collection, Mapping

from denoise_daisy.outputs.ome_zarr import unlist_labels
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.runs.clearing import forget
from denoise_daisy.runs.verify import damages_of
from denoise_daisy.tasks.stages import readers_of

logger = logging.getLogger("denoise_daisy")


def delete_unneeded(
    run: ResolvedRun, ledgers: Mapping[str, Ledger], names: Collection[str]
) -> None:
    """Delete stages that nobody needs any more, if what was made of them is right.

    Those that read them are read back first.
    """
    if not names:
        return
    record = RunRecord.of(run.run_dir)
    names = [name for name in names if record.stages[name].parameters]
    if not names:
        return
    tasks = {stage.task for stage in run.stages if stage.name in names}
    readers = {r.name: r for task in tasks for r in readers_of(task, run.stages)}
    stages = [reader for name, reader in readers.items() if name not in names]
    if damages := damages_of(stages, {s.name: ledgers[s.name] for s in stages}):
        logger.warning(
            "What is not kept is not deleted: %s, and so on. `verify` marks what is"
            " damaged.",
            damages[0],
        )
        return
    forget(run, record, names)
    unlist_labels(run.output, tasks)
    logger.info("Deleted, for all that reads it is done: %s", ", ".join(sorted(tasks)))
