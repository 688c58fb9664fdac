"""Looking at a run until it is over."""

import os
import shutil
import time
from collections.abc import Callable

from denoise_daisy.monitoring.many import ManyStatus
from denoise_daisy.monitoring.values import RunStatus

LOOK_SHARE = 20
"""The next look is no sooner than after that many times what the last one took."""

CLEAR = "\x1b[2J\x1b[3J\x1b[H"
"""An empty screen, in a terminal."""


Found = RunStatus | ManyStatus


class Watching:
    """Says how far a run is again and again, until it is over or somebody stops it."""

    def __init__(
        self,
        look: Callable[[], Found],
        words: Callable[[Found], str],
        say: Callable[[str], None],
        *,
        pause: float,
        is_screen: bool,
    ) -> None:
        """On a screen each look takes the place of the one before."""
        self._look = look
        self._words = words
        self._say = say
        self._pause = pause
        self._is_screen = is_screen
        self._said = ""

    def watch(self) -> None:
        """Until it is over, which is said last; a Ctrl-C ends it as well."""
        try:
            while not self._look_once():
                pass
        except KeyboardInterrupt:
            # Whoever has seen enough has been told all there is.
            return

    def _look_once(self) -> bool:
        """Look, say what there is, and wait; whether it is over."""
        started = time.monotonic()
        found = self._look()
        words = self._words(found)
        if self._is_screen and not found.is_over:
            self._say(CLEAR + on_screen(words))
        elif words != self._said:
            self._say((CLEAR if self._is_screen else "") + words)
        self._said = words
        if not found.is_over:
            spent = time.monotonic() - started
            time.sleep(max(self._pause, LOOK_SHARE * spent))
        return found.is_over


def on_screen(text: str, size: os.terminal_size | None = None) -> str:
    """The part of a text that a terminal shows without rolling."""
    columns, rows = size or shutil.get_terminal_size()
    lines = [line[: max(columns - 1, 1)] for line in text.splitlines()]
    if len(lines) >= rows:
        more = len(lines) - (rows - 2)
        lines = [*lines[: max(rows - 2, 1)], f"({more} more lines)"]
    return "\n".join(lines)
