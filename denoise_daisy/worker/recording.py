"""Doing blocks and recording them: nothing is believed that is not in a ledger."""

import logging
import time
import traceback
from dataclasses import asdict
from enum import Enum, auto
from typing import Any

from funlib.geometry import Roi

from denoise_daisy.blockwise.process_block import (
    OutputFullError,
    UnwantedError,
    process_block,
)
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import OutputGoneError
from denoise_daisy.geometry import Index
from denoise_daisy.machine import peak_memory
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.connection import Connection
from denoise_daisy.run_dir.ledger_lines import (
    NO_ENGINE,
    Entry,
    LedgerWriter,
    Reason,
)
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.tracebacks import keep_traceback
from denoise_daisy.wording import error_text
from denoise_daisy.worker.presence import Presence

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a block that was handed out to this worker."""

    DONE = auto()
    FAILED = auto()
    NOT_OURS = auto()
    """It is for another process, and this one should leave."""


class BlockRecorder:
    """Does blocks of some stages, and writes down what became of them."""

    def __init__(
        self, run: ResolvedRun, stages: dict[str, Stage], presence: Presence, epoch: int
    ) -> None:
        self._run = run
        self._stages = stages
        self._presence = presence
        self._epoch = epoch
        self._durable = run.config.output.durability == "fsync"
        self._writers: dict[str, LedgerWriter] = {}
        self._failed: set[tuple[str, Index]] = set()
        self.longest_seconds = 0.0
        """Of all blocks that were done here."""

    def take(self, name: str, write_roi: Roi) -> Outcome:
        """Do a block of a stage, unless it is for another process."""
        stage = self._stages[name]
        index = stage.index_at(write_roi)
        now = Connection.read(self._run.run_dir)
        # Another scheduler's business; or a retry, which is for a new process.
        is_others = now is None or now.epoch != self._epoch
        if is_others or (name, index) in self._failed:
            return Outcome.NOT_OURS
        return self._do(stage, index)

    def _do(self, stage: Stage, index: Index) -> Outcome:
        """Compute a block and record the outcome."""
        engine = stage.engine()
        self._presence.begin(stage.name, index, engine)
        started = time.perf_counter()
        # A straggler finds its ledger gone here, rather than make a new one later.
        writer = self._writer(stage.name)
        values = self._outcome(stage, index)
        seconds = round(time.perf_counter() - started, 3)
        self.longest_seconds = max(self.longest_seconds, seconds)
        if values["status"] == "failed":
            self._failed.add((stage.name, index))
            values["traceback_file"] = keep_traceback(
                self._run.run_dir, stage.name, index, values["traceback"]
            )
        writer.append(
            Entry(
                block=index,
                shape=tuple(stage.grid.block_shape),
                epoch=self._epoch,
                worker=self._presence.worker,
                seconds=seconds,
                peak_mib=peak_memory() >> 20,
                **{"engine": engine} | values,
            )
        )
        self._presence.begin("", None)
        error = values.get("error")
        logger.info("Block %s of %s: %s.", list(index), stage.name, error or "done")
        return Outcome.FAILED if error else Outcome.DONE

    def _outcome(self, stage: Stage, index: Index) -> dict[str, Any]:
        """What is recorded of a block, which was done or has failed.

        Raises
        ------
        UnwantedError, OutputGoneError, OutputFullError
            Not the block is at fault, but the run is over, or the disk full.
        """
        try:
            result = process_block(
                stage,
                index,
                durable=self._durable,
                is_wanted=lambda: self._is_wanted(stage),
            )
        except (UnwantedError, OutputGoneError, OutputFullError):
            raise
        except MemoryError as error:
            failure = _failure("memory", error, stage)
            failure["error"] += (
                f" at a peak of {peak_memory() >> 20} MiB; make blocks smaller"
                " (blocks.memory_gib) or give workers more memory"
            )
            return failure
        except BaseException as error:  # noqa: BLE001 - `exit` is a block's failure, too
            return _failure("exception", error, stage)
        values = {"status": "done", **asdict(result)}
        return values | {"engine": NO_ENGINE} if values.pop("is_left") else values

    def _writer(self, stage: str) -> LedgerWriter:
        if stage not in self._writers:
            self._writers[stage] = LedgerWriter(
                self._run.run_dir.ledger(stage),
                self._run.id,
                self._presence.worker,
                durable=self._durable,
            )
        return self._writers[stage]

    def close(self) -> None:
        """Release the ledgers' files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _is_wanted(self, stage: Stage) -> bool:
        """Whether the output is still that of the run this worker was started for."""
        record = RunRecord.read(self._run.run_dir)
        if record is None or record.id != self._run.id:
            return False
        kept = record.stages.get(stage.name)
        return kept is not None and kept.parameters == stage.parameters


def _failure(reason: Reason, error: BaseException, stage: Stage) -> dict[str, Any]:
    where = stage.where(error)
    told = {
        "status": "failed",
        "reason": reason,
        "error": error_text(error, where),
        "where": where,
        "traceback": "".join(traceback.format_exception(error)),
    }
    # Names of files that are not UTF-8 can't be in a line of JSON.
    return {
        k: v and v.encode("utf-8", "backslashreplace").decode() for k, v in told.items()
    }
