"""Running a command of a batch system: in time, in its own environment."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from denoise_daisy.launchers.batch_system import BatchSystem
from denoise_daisy.waits import WAITS


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said."""

    accepted: bool
    """Whether it succeeded."""
    out: str
    error: str
    """What it said besides, or why it said nothing."""


def run_command(
    system: BatchSystem, command: Sequence[str], script: str = ""
) -> Answer:
    """The answer of a command, which may be that there is none."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(os.environ, system),
            text=True,
            errors="replace",
            # Out of reach of the terminal's Ctrl-C, and to be ended as a whole.
            start_new_session=True,
        )
    except OSError as error:
        said = f"{command[0]}: {error.strerror}."
        return Answer(accepted=False, out="", error=said)
    with process:
        try:
            out, errors = process.communicate(script, timeout=WAITS.command)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said = f"{command[0]} did not answer within {WAITS.command:g} s."
            return Answer(accepted=False, out="", error=said)
    code = process.returncode
    said = errors.strip() or f"{command[0]} gave exit code {code}."
    return Answer(accepted=code == 0, out=out, error=said)


def clean_environment(
    environment: Mapping[str, str], system: BatchSystem
) -> dict[str, str]:
    """The environment without what a job inherits from the job that submits it.

    A scheduler that is a job itself has SLURM_MEM_PER_CPU and the like, which would
    contradict or silently change what its workers ask for.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(system.private_variables)
        or name in system.kept_variables
    }
