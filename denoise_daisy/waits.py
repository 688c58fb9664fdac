"""How long the program waits, in one place.

All are in seconds.  `DENOISE_DAISY_WAITS`, a JSON object of names and seconds, sets
some of them otherwise, in a scheduler and in the workers that it starts: without it,
tests of what happens after a long wait would take as long.
"""

import json
import math
import os
from dataclasses import dataclass, fields

VARIABLE = "DENOISE_DAISY_WAITS"


@dataclass(frozen=True, slots=True)
class Waits:
    """Waiting times, each in seconds."""

    # The scheduler

    tick: float = 0.25
    """Between two looks at ledgers and workers."""
    same_signal: float = 0.3
    """Signals that follow each other so closely count as one."""
    output_gone: float = 20.0
    """The run stops when its output or its run directory is away for so long."""
    leave: float = 5.0
    """What workers get to leave by themselves once there is no more work."""
    last_words: float = 5.0
    """What was said and not read yet is kept for a reader for so long at the end."""

    report: float = 60.0
    """What a report at a run's end may take at most; below 1 s none is made."""
    page: float = 30.0
    """Between two pages that tell how far a run is, at least; below 1 s there are none.
    """
    last_page: float = 15.0
    """The last one gets so long at a run's end..."""
    last_page_stopped: float = 1.5
    """...and when the run was interrupted; after that, one without pictures gets it."""
    notify: float = 60.0
    """What the command of `notify` gets to tell somebody."""

    # `status --watch`

    watch: float = 3.0
    """Between two looks, in a terminal and as JSON."""
    watch_in_words: float = 30.0
    """The same where a file or a pipe gets them in words."""

    # Its pools of workers

    worker_stuck: float = 300.0
    """A worker without a block, while there are some, is given up after that."""
    manual_worker_silent: float = 40.0
    """A manually started worker that shows nothing for so long is gone."""
    overdue: float = 15.0
    """What a worker gets beyond the block's timeout to end itself."""
    first_start_pause: float = 0.5
    """Between two starts of workers, at first; doubled each time without a block done
    or failed in between."""
    longest_start_pause: float = 60.0
    """Between two starts of workers, at most."""

    # Batch systems

    poll: float = 10.0
    """Between two polls; doubled while the system doesn't answer."""
    longest_poll: float = 120.0
    """Between two polls, at most."""
    shared_job: float = 2.0
    """Between two looks of a job of several workers and a scheduler at what the other
    has written."""
    command: float = 60.0
    """A command of the batch system that takes longer counts as no answer."""
    kill_again: float = 60.0
    """Between the first two tries to kill a worker's job; doubled each time."""
    job_lost: float = 300.0
    """A job that the batch system can't reach, or that no kill has ended, for so long
    is given up."""

    # The lock of a run directory

    heartbeat: float = 2.0
    """Between two heartbeats of a scheduler."""
    scheduler_silent: float = 180.0
    """A scheduler whose last heartbeat is older is dead: other hosts see it late."""
    scheduler_gone: float = 20.0
    """The same where its process is known to be gone."""

    # Workers

    heartbeat_check: float = 4.0
    """Between two looks at the scheduler's heartbeat."""
    last_block: float = 30.0
    """What a block in flight still gets when the scheduler is dead."""
    connect: float = 30.0
    """A server that could never be reached within that is unreachable."""
    network_away: float = 300.0
    """The same for one that could be reached before."""
    reconnect: float = 0.5
    """Between two tries to reach a server."""
    ask: float = 0.05
    """A stage that has no block within that has none just now: others are asked."""
    ask_pause: float = 0.25
    """Between two rounds of asking, where no stage has any block; doubled each time."""
    longest_ask_pause: float = 1.0
    """Between two rounds of asking, at most."""
    answer: float = 20.0
    """A server that says nothing for so long, while there are blocks, is asked anew."""
    release: float = 5.0
    """What Daisy gets to hear that a block is done, before a worker goes on."""
    idle: float = 60.0
    """A worker that finds nothing to do for so long leaves."""

    # Files

    file_away: float = 5.0
    """What is to be read may be away for that long before it is an error."""
    ledger_lag: float = 120.0
    """The same for a line of a ledger: other hosts may see it late."""
    retry: float = 0.25
    """Between two tries to read or write what is away; at first, where it doubles."""
    hiccup: float = 60.0
    """What a file system gets that answers with errors, before the run stops."""
    array_away: float = 30.0
    """An array that is to be written to may be away for that long."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and 0 < value < math.inf):
                raise ValueError(
                    f"{VARIABLE}: {field.name} is {value!r}. Expected seconds, a"
                    " positive number."
                )


def read_waits(text: str | None) -> Waits:
    """The waiting times that a JSON object sets; the others are as always.

    Raises
    ------
    ValueError
        It is no such object, or names an unknown waiting time or no positive number.
    """
    if not text:
        return Waits()
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{VARIABLE} is no JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{VARIABLE} is {text!r}. Expected a JSON object.")  # noqa: TRY004
    known = {field.name for field in fields(Waits)}
    if unknown := sorted(values.keys() - known):
        raise ValueError(
            f"{VARIABLE}: there is no {unknown[0]!r}. Expected some of"
            f" {', '.join(sorted(known))}."
        )
    return Waits(**values)


WAITS = read_waits(os.environ.get(VARIABLE))
