"""Refusing early what a batch system would not take."""

import logging
import shlex
import shutil
import time
from collections.abc import Callable

from denoise_daisy.errors import InputError
from denoise_daisy.launchers.base import NoAnswerError, NotHereError
from denoise_daisy.launchers.batch_command import Answer, run_command
from denoise_daisy.launchers.batch_polls import Polls
from denoise_daisy.launchers.batch_system import BatchSystem
from denoise_daisy.waits import WAITS

logger = logging.getLogger(__name__)

TRIES = 3
"""A batch system that is busy just now, or is started again, says no as well."""


def check_system(system: BatchSystem) -> None:
    """Ask whether a system would take the workers' jobs, and tell of them.

    Raises
    ------
    NotHereError
        Its commands are not on this machine.
    NoAnswerError
        It does not answer.
    InputError
        It would not; the message has its own words.
    """
    poll = system.poll_command()
    commands = [system.submit_command(1), poll, *system.sweep_commands()]
    for program in dict.fromkeys(command[0] for command in commands):
        if shutil.which(program) is None:
            raise NotHereError(
                f"{program!r} is not on this machine, and workers.kind needs it."
                f" Start where {system.name} can be used, or use local workers."
            )
    if error := _last_error(lambda: _silence(Polls(system))):
        raise NoAnswerError(
            f"{system.name} does not tell of the workers' jobs: {error} Expected"
            f" an answer to this command, now and during the run: {shlex.join(poll)}"
        )
    if dry_run := system.check_command():
        script = system.script()
        error = _last_error(lambda: _refusal(run_command(system, dry_run, script)))
        if error:
            raise InputError(
                f"{system.name} would not take the workers' jobs: {error}"
                " Correct `workers` in the config. The command was:"
                f" {shlex.join(dry_run)}"
            )


def _last_error(ask: Callable[[], str]) -> str:
    """What is said against it at the last try; empty where one went well."""
    error = ask()
    for _ in range(TRIES - 1):
        if error:
            logger.warning("%s Asking again in %g s.", error, WAITS.poll)
            time.sleep(WAITS.poll)
            error = ask()
    return error


def _refusal(answer: Answer) -> str:
    return "" if answer.accepted else answer.error


def _silence(polls: Polls) -> str:
    polls.ask()
    return polls.error
