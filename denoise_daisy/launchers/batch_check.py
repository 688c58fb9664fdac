"""Refusing early what a batch system would not take."""

import shlex
import shutil

from denoise_daisy.errors import InputError
from denoise_daisy.launchers.base import NotHereError
from denoise_daisy.launchers.batch_command import run_command
from denoise_daisy.launchers.batch_polls import Polls
from denoise_daisy.launchers.batch_system import BatchSystem


def check_system(system: BatchSystem) -> None:
    """Ask whether a system would take the workers' jobs, and tell of them.

    Raises
    ------
    NotHereError
        Its commands are not on this machine.
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
    if dry_run := system.check_command():
        answer = run_command(system, dry_run, system.script())
        if not answer.accepted:
            raise InputError(
                f"{system.name} would not take the workers' jobs: {answer.error}"
                " Correct `workers` in the config. The command was:"
                f" {shlex.join(dry_run)}"
            )
    polls = Polls(system)
    if polls.ask() is None:
        raise InputError(
            f"{system.name} does not tell of the workers' jobs: {polls.error} Expected"
            f" an answer to this command, now and during the run: {shlex.join(poll)}"
        )
