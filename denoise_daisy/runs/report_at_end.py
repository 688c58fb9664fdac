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
from pathlib import Path

from denoise_daisy.errors import BlocksFailed
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.start import Among
from denoise_daisy.scheduling.signals import Signals
from denoise_daisy.waits import WAITS

LEAST, SHARE = 20.0, 0.01
"""Seconds that it may take to measure, and the share of the run's time beyond that."""

TOO_LITTLE = 1.0
"""Seconds in which nothing can be measured: then there is no report."""

START, QUIT = 20.0, 0.2
"""What it may take beside measuring, and between two looks at whether to go on."""

OF_MANY = 600.0
"""Seconds that one of many images must have taken for a report: those of hundreds of
small images would take longer than their denoising."""

logger = logging.getLogger("denoise_daisy")


@contextmanager
def reported(
    run_dir: RunDir, say: Callable[[str], None], among: Among | None
) -> Iterator[None]:
    """Do a start of a run, and make its report if all blocks are done or have failed.

    That is once its lock is free: who looks is to see that it is over.
    """
    began, before = time.monotonic(), _written(run_dir.run_file)
    try:
        yield
    except BlocksFailed:
        _make(run_dir, (began, before), say, among)
        raise
    _make(run_dir, (began, before), say, among)


def _written(file: Path) -> int:
    """When a file was written; run.json every start does that has anything to do."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _make(
    run_dir: RunDir,
    start: tuple[float, int],
    say: Callable[[str], None],
    among: Among | None,
) -> None:
    began, before = start
    spent = time.monotonic() - began
    seconds = min(WAITS.report, max(LEAST, SHARE * spent))
    is_short = among is not None and spent < OF_MANY
    has_begun = _written(run_dir.run_file) != before
    last = _written(run_dir.report)
    if seconds < TOO_LITTLE or is_short or not has_begun or _are_ending(among):
        return
    say(f"Making the report, in about {seconds:.0f} s at most; Ctrl-C leaves it out.")
    signals = among.signals if among else Signals()
    words = [sys.executable, "-m", "denoise_daisy", "report", str(run_dir.path)]
    try:
        # They end the waiting, and nothing else.
        with signals.handled():
            problem = _outcome([*words, "--within", f"{seconds:g}"], seconds, signals)
    except Exception as error:  # noqa: BLE001 - the run has ended well without it
        problem = f"{type(error).__name__}: {error}"
    has_some = _written(run_dir.report) != last
    if problem and has_some:
        logger.warning(
            "The report is there, but not all of it could be measured (%s);"
            " `denoise-daisy report %s` tries again.",
            problem,
            run_dir.output,
        )
    elif problem:
        logger.warning(
            "The report could not be made (%s); `denoise-daisy report %s` tries again.",
            problem,
            run_dir.output,
        )
        return
    say(f"Report: {run_dir.page}")


def _are_ending(among: Among | None) -> bool:
    """Whether somebody wants the runs to end, of which this is one."""
    return among is not None and among.signals.count > 0


def _outcome(words: list[str], seconds: float, signals: Signals) -> str:
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
                    if signals.count:
                        return "it was stopped"
                    if time.monotonic() > until:
                        return f"it took longer than {seconds + START:.0f} s"
        finally:
            process.kill()
    lines = errors.decode(errors="replace").strip().splitlines()
    return "" if process.returncode == 0 else lines[-1] if lines else "it died"
