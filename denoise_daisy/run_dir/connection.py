"""What a scheduler tells its workers: where it listens, and which stages are ready."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from denoise_daisy.durable import persistently, write_atomic
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

    def show(self, run_dir: RunDir) -> None:
        """Tell workers, unless they have been told just that."""
        if type(self).read(run_dir) != self:
            self.write(run_dir)

    @classmethod
    def read(cls, run_dir: RunDir) -> Self | None:
        """Where to go; None while no scheduler is at work."""
        try:
            return cls(**json.loads(persistently(run_dir.connection_file.read_text)))
        except (OSError, ValueError, TypeError):
            return None


def withdraw_connection(run_dir: RunDir, epoch: int) -> None:
    """Let workers know that there is no more to do; they find out otherwise as well.

    What a scheduler of another epoch tells them is left.
    """
    connection = Connection.read(run_dir)
    if connection is not None and connection.epoch != epoch:
        return
    with suppress(OSError):
        persistently(lambda: run_dir.connection_file.unlink(missing_ok=True))


@dataclass(frozen=True, slots=True)
class Hint:
    """What a worker should know of a stage, roughly."""

    ready: int
    """How many of its blocks are ready, and taken by nobody."""

    longest: float
    """Seconds that the longest block of this start took."""

    given_up: str = ""
    """Why no more of it is done in this start; empty where that is not so."""


def write_ready(run_dir: RunDir, hints: Mapping[str, Hint]) -> None:
    """Tell workers which stages are worth asking for."""
    text = json.dumps({name: asdict(hint) for name, hint in hints.items()})
    partial = run_dir.ready_file.with_name("ready.json.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(run_dir.ready_file)


def remove_ready(run_dir: RunDir) -> None:
    """Take back what an earlier start has told."""
    persistently(lambda: run_dir.ready_file.unlink(missing_ok=True))


def read_ready(run_dir: RunDir) -> dict[str, Hint] | None:
    """What there is to do, in the order to ask for it."""
    try:
        hints = json.loads(run_dir.ready_file.read_text(encoding="utf-8"))
        return {name: Hint(**values) for name, values in hints.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
