"""Read an output back and hold it against the ledger's checksums."""

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tqdm import tqdm

from denoise_daisy import outputs
from denoise_daisy.arrays import read_serially
from denoise_daisy.blocks import find_damage
from denoise_daisy.errors import BlocksFailed, RunStopped
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.job import Job
from denoise_daisy.ledger import Entry, Ledger, LedgerWriter
from denoise_daisy.machine import cores
from denoise_daisy.progress import listing
from denoise_daisy.rundir import Lock, RunDir
from denoise_daisy.stages import DENOISE, Stage


@dataclass(frozen=True, slots=True)
class Damage:
    """A block whose output is not what was written."""

    stage: str
    grid: BlockGrid
    block: Index
    what: str

    def __str__(self) -> str:
        """The block and what is wrong with it."""
        stage = "" if self.stage == DENOISE else f"{self.stage} "
        return f"{stage}block {list(self.block)}: {self.what}"


def verify(run_dir: RunDir) -> str:
    """Check all done blocks; damaged ones count as undone from then on.

    Raises
    ------
    RefusedError
        A scheduler is at work.
    BlocksFailed
        Some blocks are damaged or missing; the next run computes just them.
    RunStopped
        All that was written is right, but the run is not finished.
    """
    record = run_dir.read_run()
    assert record is not None, "found by its run.json"  # noqa: S101
    with Lock(run_dir):
        job = Job.restore(record, run_dir.output)
        stages = [stage for stage in job.stages if _is_as_recorded(stage, record)]
        ledgers = {stage.name: _ledger(stage, run_dir) for stage in stages}
        checked = sum(ledger.done_count for ledger in ledgers.values())
        damages = _damages(stages, ledgers)
        if damages:
            last = max(ledger.epoch for ledger in ledgers.values())
            _mark(run_dir, damages, max(last, record["epoch"]) + 1)
    if damages:
        lines = [f"{len(damages)} of {checked} blocks are not what was written:"]
        lines += listing([str(damage) for damage in damages])
        lines.append("They count as undone now; start the run again to compute them.")
        raise BlocksFailed("\n".join(lines))
    left = sum(stage.grid.size for stage in stages) - checked
    if left:
        raise RunStopped(
            f"All {checked} blocks that are done are as they were written; {left} are"
            " not done yet. Start the run to go on."
        )
    return f"All {checked} blocks are as they were written. Output: {job.output}"


def _ledger(stage: Stage, run_dir: RunDir) -> Ledger:
    folder = run_dir.ledger(stage.name)
    ledger = Ledger(folder, stage.grid, stage.unit)
    ledger.refresh()
    if ledger.done.any():
        outputs.check_stage(stage, folder)
    return ledger


def _is_as_recorded(stage: Stage, record: Mapping[str, Any]) -> bool:
    """Whether its blocks are what the config asks for now; else they await --task."""
    if stage.name == DENOISE:
        return True
    return bool(record["stages"][stage.name]["fingerprint"] == stage.facts)


def _damages(stages: Sequence[Stage], ledgers: Mapping[str, Ledger]) -> list[Damage]:
    blocks = [
        (stage, *block) for stage in stages for block in ledgers[stage.name].done_crcs()
    ]

    def check(block: tuple[Stage, BlockGrid, Index, int]) -> Damage | None:
        stage, grid, index, crc = block
        what = find_damage(stage, grid, index, crc)
        return Damage(stage.name, grid, index, what) if what else None

    # Zarr and zlib release the GIL; dask's own threads would only be in the way.
    with read_serially(), ThreadPoolExecutor(cores()) as pool:
        results = tqdm(
            pool.map(check, blocks),
            desc="verify",
            total=len(blocks),
            unit="block",
            file=sys.stderr,
            mininterval=1 if sys.stderr.isatty() else 30,
        )
        return [damage for damage in results if damage]


def _mark(run_dir: RunDir, damages: list[Damage], epoch: int) -> None:
    for stage, of_stage in groupby(damages, key=lambda damage: damage.stage):
        writer = LedgerWriter(run_dir.ledger(stage), f"verify-{epoch}", durable=True)
        try:
            for damage in of_stage:
                writer.append(
                    Entry(
                        block=damage.block,
                        shape=tuple(damage.grid.block_shape),
                        status="failed",
                        epoch=epoch,
                        worker="verify",
                        reason="damaged",
                        error=damage.what,
                    )
                )
        finally:
            writer.close()
