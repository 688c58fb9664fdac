"""Events of a run, for other programs: plain JSON, one object each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from denoise_daisy.errors import DenoiseDaisyError

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
    """Takes the events of a run, and tells of its end where the run itself did not.

    That is so where it could not be begun, or all was done before.
    """
    if tell is None:
        yield None
        return
    last = ""

    def tell_and_note(event: Mapping[str, Any]) -> None:
        nonlocal last
        last = event["event"]
        tell(event)

    try:
        yield tell_and_note
    except DenoiseDaisyError as error:
        if last != "stopped":
            why = {"message": str(error), "exit_code": error.exit_code}
            tell({"event": "refused", **why})
        raise
    if last != "done":
        tell({"event": "done", "message": "All was done before.", "exit_code": 0})
