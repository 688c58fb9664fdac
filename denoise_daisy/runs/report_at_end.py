"""The report that is made by itself at the end of a run, in a process of its own.

Whatever becomes of it, the run has ended as it has: it is given some time, and what it
says if it fails goes to the log.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from denoise_daisy.errors import BlocksFailed
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.status.page import FILE as PAGE_FILE
from denoise_daisy.waits import WAITS

LEAST, SHARE = 15.0, 0.01
"""Seconds that it may take to measure, and the share of the run's time beyond that."""

TOO_LITTLE = 1.0
"""Seconds in which nothing can be measured: then there is no report."""

START, QUIT = 20.0, 0.2
"""What it may take beside measuring, and between two looks at whether to go on."""

logger = logging.getLogger("denoise_daisy")


@contextmanager
def reported(
    run: ResolvedRun, say: Callable[[str], None], is_over: Callable[[], bool]
) -> Iterator[None]:
    """Do a start of a run, and make its report if all blocks are done or have failed.

    `is_over` says whether somebody wants all to end.
    """
    began = time.monotonic()
    try:
        yield
    except BlocksFailed:
        _make(run, time.monotonic() - began, say, is_over)
        raise
    _make(run, time.monotonic() - began, say, is_over)


def _make(
    run: ResolvedRun,
    took: float,
    say: Callable[[str], None],
    is_over: Callable[[], bool],
) -> None:
    seconds = min(WAITS.report, max(LEAST, SHARE * took))
    if seconds < TOO_LITTLE or is_over():
        return
    words = [sys.executable, "-m", "denoise_daisy", "report", str(run.run_dir.path)]
    try:
        problem = _outcome([*words, "--within", f"{seconds:g}"], seconds, is_over)
    except KeyboardInterrupt:
        problem = "it was stopped"
    except Exception as error:  # noqa: BLE001 - the run has ended well without it
        problem = f"{type(error).__name__}: {error}"
    if problem:
        logger.warning(
            "The report could not be made (%s); `denoise-daisy report %s` tries again.",
            problem,
            run.output,
        )
        return
    said = f"Report: {run.run_dir.path / PAGE_FILE}"
    logger.info("%s", said)
    say(said)


def _outcome(words: list[str], seconds: float, is_over: Callable[[], bool]) -> str:
    """Why there is no report; empty if there is one."""
    until = time.monotonic() + seconds + START
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Of a Ctrl-C only this process is to hear.
        start_new_session=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    ) as process:
        try:
            while True:
                try:
                    _, errors = process.communicate(timeout=QUIT)
                    break
                except subprocess.TimeoutExpired:
                    if is_over():
                        return "it was stopped"
                    if time.monotonic() > until:
                        return f"it took longer than {seconds + START:.0f} s"
        finally:
            process.kill()
    lines = errors.decode(errors="replace").strip().splitlines()
    return "" if process.returncode == 0 else lines[-1] if lines else "it died"
