"""Every way to fail, as one tree.

* DenoiseDaisyError
  x InputError      2: the config, the input or the output path can't be used
  x RefusedError    4: the output belongs to another run, or another scheduler is at it
  x BlocksFailed    3: the run ended, some blocks failed for good
  x RunStopped      5: the run had to stop; what is done is kept
    + Interrupted   129, 130 or 143: stopped by SIGHUP, SIGINT or SIGTERM; the same

A message is one short paragraph: what was found, what was expected, what to do.
"""

from typing import Any


class DenoiseDaisyError(Exception):
    """An error that the user can act on; the command line prints it and exits."""

    exit_code: int = 1


class InputError(DenoiseDaisyError):
    """Bad usage, config or input; nothing was started or written."""

    exit_code = 2


class BlocksFailed(DenoiseDaisyError):
    """All other blocks are done; these failed for good."""

    exit_code = 3

    result: Any = None
    """What `run` would have returned, where it was called by a program."""


class RefusedError(DenoiseDaisyError):
    """The output belongs to other settings, or another scheduler is at work on it."""

    exit_code = 4


class RunStopped(DenoiseDaisyError):
    """The run could not go on; what is done is kept."""

    exit_code = 5


class Interrupted(RunStopped):
    """A signal stopped the run; what is done is kept."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
