"""Read an output back and hold it against the ledger's checksums."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from denoise_daisy.arrays import read_serially
from denoise_daisy.errors import BlocksFailed, RunStopped
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.job import TASK, Job
from denoise_daisy.ledger import Entry, Ledger, LedgerWriter
from denoise_daisy.machine import cores
from denoise_daisy.ome_zarr import check_level, files_of
from denoise_daisy.progress import listing
from denoise_daisy.rundir import Lock, RunDir
from denoise_daisy.tasks import checksum


@dataclass(frozen=True, slots=True)
class Damage:
    """A block whose output is not what was written."""

    grid: BlockGrid
    block: Index
    what: str


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
        check_level(job.output)
        ledger = Ledger(run_dir.ledger(TASK), job.grid, job.unit)
        ledger.refresh()
        checked = ledger.done_count
        damages = _damages(job, ledger)
        if damages:
            _mark(run_dir, damages, max(ledger.epoch, record["epoch"]) + 1)
    if damages:
        lines = [f"{len(damages)} of {checked} blocks are not what was written:"]
        lines += listing([f"block {list(d.block)}: {d.what}" for d in damages])
        lines.append("They count as undone now; start the run again to compute them.")
        raise BlocksFailed("\n".join(lines))
    left = job.grid.size - checked
    if left:
        raise RunStopped(
            f"All {checked} blocks that are done are as they were written; {left} are"
            " not done yet. Start the run to go on."
        )
    return f"All {checked} blocks are as they were written. Output: {job.output}"


def _damages(job: Job, ledger: Ledger) -> list[Damage]:
    blocks = list(ledger.done_crcs())

    def check(block: tuple[BlockGrid, Index, int]) -> Damage | None:
        grid, index, crc = block
        what = _damage(job, grid, index, crc)
        return Damage(grid, index, what) if what else None

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


def _damage(job: Job, grid: BlockGrid, index: Index, crc: int) -> str | None:
    roi = grid.write_roi(index)
    files = files_of(job.output, job.layout, roi - grid.volume.begin)
    missing = [file for file in files if not file.exists()]
    if missing:
        return f"{missing[0].relative_to(job.output)} is missing"
    try:
        found = checksum(job.target[roi])
    except Exception as error:  # noqa: BLE001 - whatever a codec makes of damaged bytes
        return f"can't be read ({error})"
    return None if found == crc else "its voxels have changed"


def _mark(run_dir: RunDir, damages: list[Damage], epoch: int) -> None:
    writer = LedgerWriter(run_dir.ledger(TASK), f"verify-{epoch}", durable=True)
    try:
        for damage in damages:
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
