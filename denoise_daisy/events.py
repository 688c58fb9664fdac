"""Events of a run, for other programs: plain JSON, one object each."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from denoise_daisy.errors import InputError, RefusedError

logger = logging.getLogger("denoise_daisy")

Tell: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Takes an event, whose kind is its `event`:

``message``
    `text` that a person is told, on its way.
``progress``
    Where the run is, at least every 15 s while blocks are done: the fields of
    `progress.Standing`, and `elapsed_seconds`.
``block_given_up``, ``done``, ``stopped``
    What `notify` tells, with the same fields.
``refused``
    The run can't be, and nothing was started or written: `message` and `exit_code`.

The last is ``done``, ``stopped`` or ``refused``.
"""


@contextmanager
def end_told(tell: Tell | None) -> Iterator[Tell | None]:
    """Takes the events of a run from any thread, and passes its end on as the last.

    Where the run itself tells of none, all was done before, or it could not be begun.
    A listener that fails is nothing to the run.
    """
    if tell is None:
        yield None
        return
    lock, ends = threading.Lock(), list[Mapping[str, Any]]()

    def pass_on(event: Mapping[str, Any]) -> None:
        try:
            with lock:
                tell(event)
        except Exception:
            logger.warning("An event could not be told.", exc_info=True)

    def take(event: Mapping[str, Any]) -> None:
        if event["event"] in ("done", "stopped"):
            ends.append(event)
        else:
            pass_on(event)

    try:
        yield take
    except BaseException as error:
        pass_on(ends[-1] if ends else _end_by(error))
        raise
    before = {"event": "done", "message": "All was done before.", "exit_code": 0}
    pass_on(ends[-1] if ends else before)


def _end_by(error: BaseException) -> Mapping[str, Any]:
    """The end of a run that could not tell of it."""
    usual = 130 if isinstance(error, KeyboardInterrupt) else 1
    code = getattr(error, "exit_code", usual)
    event = "refused" if isinstance(error, InputError | RefusedError) else "stopped"
    message = str(error) or type(error).__name__
    return {"event": event, "message": message, "exit_code": code}
