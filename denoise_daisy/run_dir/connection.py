"""What a scheduler tells its workers: where it listens, and which stages are ready."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from denoise_daisy.durable import write_atomic
from denoise_daisy.run_dir.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a scheduler listens, and what a worker must know to get a block."""

    host: str
    port: int
    run_id: str
    """Unguessable, new at every start of the server."""
    epoch: int

    def write(self, run_dir: RunDir) -> None:
        """Tell workers where to go; only the owner can read it."""
        text = json.dumps(asdict(self)) + "\n"
        write_atomic(run_dir.connection_file, text, mode=0o600)

    @classmethod
    def read(cls, run_dir: RunDir) -> Self | None:
        """Where to go; None while no scheduler is at work."""
        try:
            return cls(**json.loads(run_dir.connection_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def write_ready(run_dir: RunDir, ready: Mapping[str, int]) -> None:
    """Tell workers how many blocks of each stage are ready, roughly."""
    partial = run_dir.ready_file.with_name("ready.json.partial")
    # A full disk is reported by those who must write.
    with suppress(OSError):
        partial.write_text(json.dumps(ready))
        partial.replace(run_dir.ready_file)


def read_ready(run_dir: RunDir) -> dict[str, int] | None:
    """How many blocks of each stage are ready, in the order to ask for them."""
    try:
        ready = json.loads(run_dir.ready_file.read_text())
    except (OSError, ValueError):
        return None
    return ready if isinstance(ready, dict) else None
