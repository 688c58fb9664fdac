"""Processes of their own, forked from one that has imported the program.

That saves the seconds that Python and all that it imports take at a start.  There is
one such server for each process of a test run.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from harness.waiting import PATIENCE

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "denoise_daisy.worker.process",
        "dask.array",
        "ndsafir",
        "psutil",
        "pylibCZIrw.czi",
        "pytest",
        "scipy.ndimage",
    ]
)


def in_own_process(act: Callable[..., object], *arguments: object) -> tuple[Any, int]:
    """What `act` returns there, None where it does not; and the exit code."""
    here, there = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_send, args=(there, act, *arguments))
    process.start()
    there.close()
    try:
        returned = here.recv()
    except EOFError:
        returned = None
    process.join(PATIENCE)
    assert process.exitcode is not None
    return returned, process.exitcode


def _send(there: Connection, act: Callable[..., object], *arguments: object) -> None:
    there.send(act(*arguments))
