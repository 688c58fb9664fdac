"""Telling somebody how a run goes, by a command of the user's."""

import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from denoise_daisy.errors import InputError
from denoise_daisy.events import Tell
from denoise_daisy.sections import Section, Text, absolute
from denoise_daisy.waits import WAITS

logger = logging.getLogger(__name__)


class Notify(Section):
    """Whom to tell when a run ends, or gives up its first block."""

    command: Annotated[tuple[Text, ...], Field(min_length=1)]
    """A program and its arguments, which sends a mail or calls a webhook.  It gets a
    JSON object on standard input: event (done, stopped, block_given_up), message,
    output, run_dir, exit_code, blocks, host and time."""

    def check(self) -> None:
        """Refuse a program that is not there.

        Raises
        ------
        InputError
            It can't be found, or not be run.
        """
        if shutil.which(self.command[0]) is None:
            raise InputError(
                f"'notify.command' is {self.command[0]!r}, which can't be found or run."
                " Expected a program on PATH, or the path of one; correct it, or leave"
                " notify out."
            )

    def with_paths_from(self, folder: Path) -> Self:
        """With a relative path of the program made absolute."""
        program, *arguments = self.command
        if os.sep in program:
            program = absolute(folder, program)
        return self.model_copy(update={"command": (program, *arguments)})


class Notifier:
    """Tells of one start of a run; nothing that becomes of that changes the run."""

    def __init__(
        self,
        command: Sequence[str],
        about: Mapping[str, str],
        blocks: Callable[[], tuple[int, int]],
        tell: Tell | None = None,
    ) -> None:
        """`about` stands in every message; `blocks` are those done, and all.

        Told are a command, if there is one, and `tell`, at once.
        """
        self._command = command
        self._also = tell
        self._about = about
        self._blocks = blocks
        self._threads: list[threading.Thread] = []
        self._has_given_up = False

    def block_given_up(self, stage: str, index: Sequence[int], reason: str) -> None:
        """Tell of the first block that was given up, and wait for nothing."""
        if not self._has_given_up:
            self._has_given_up = True
            what = f"Block {list(index)} (t z y x) of {stage} was given up: {reason}"
            self._tell("block_given_up", None, what)

    @contextmanager
    def telling_of_the_end(self, summary: Callable[[], str]) -> Iterator[None]:
        """Tell how it ended, and wait until that is told, or can't be."""
        try:
            yield
        except BaseException as error:
            usual = 130 if isinstance(error, KeyboardInterrupt) else 1
            code = getattr(error, "exit_code", usual)
            self._tell("stopped", code, str(error) or type(error).__name__)
            raise
        else:
            self._tell("done", 0, summary())
        finally:
            for thread in self._threads:
                thread.join()

    def _tell(self, event: str, exit_code: int | None, message: str) -> None:
        if not (self._command or self._also):
            return
        done, total = self._blocks()
        values: dict[str, Any] = {
            "event": event,
            "message": message,
            **self._about,
            "exit_code": exit_code,
            "blocks": {"done": done, "total": total},
            "host": platform.node(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if self._also:
            self._also(values)
        if self._command:
            self._begin(values)

    def _begin(self, values: Mapping[str, Any]) -> None:
        thread = threading.Thread(target=self._send, args=[json.dumps(values)])
        try:
            thread.start()
        except RuntimeError as error:
            self._warn(str(error))
        else:
            self._threads.append(thread)

    def _send(self, text: str) -> None:
        """Run the command, and end all that it has started if it takes too long."""
        try:
            with subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                try:
                    process.communicate(text.encode(), timeout=WAITS.notify)
                finally:
                    if process.returncode is None:
                        os.killpg(process.pid, signal.SIGKILL)
        except subprocess.TimeoutExpired:
            self._warn(f"it took longer than {WAITS.notify:g} s")
        except OSError as error:
            self._warn(str(error))
        else:
            if process.returncode:
                self._warn(f"it ended with {process.returncode}")

    def _warn(self, why: str) -> None:
        logger.warning("%s could not tell how the run goes: %s.", self._command[0], why)
