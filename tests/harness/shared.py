"""What is made once for all processes of a test run, and only looked at or copied."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


def once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]
) -> Made:
    """What `make` returns for a folder; the first process that asks calls it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, result = root / name, root / f"{name}.pickle"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failure has left
            folder.mkdir()
            partial = result.with_suffix(".partial")
            partial.write_bytes(pickle.dumps(make(folder)))
            partial.rename(result)
    made: Made = pickle.loads(result.read_bytes())  # noqa: S301 - our own
    return made
