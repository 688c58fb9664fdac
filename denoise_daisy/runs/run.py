"""A whole run, of one image or of many."""

from collections.abc import Sequence

from denoise_daisy.config import Config
from denoise_daisy.events import Tell, end_told
from denoise_daisy.runs.many import run_many
from denoise_daisy.runs.many_images import is_many
from denoise_daisy.runs.run_one import Asked, Say, run_one


def run(  # noqa: PLR0913 - what a person may ask for
    config: Config,
    *,
    tasks: Sequence[str] = (),
    overwrite: bool = False,
    grace_seconds: float = 30.0,
    unchecked_ndsafir: bool = False,
    strict: bool = False,
    extend: bool = False,
    say: Say = print,
    tell: Tell | None = None,
) -> None:
    """Denoise what a config asks for; go on where an earlier start stopped.

    Parameters
    ----------
    config
        Paths in it must be absolute, as `Config.load` makes them.
    tasks
        Do only these tasks of the config (``denoise`` is the first); none: all.
    overwrite
        Delete an output of this program at that place and start over.
    grace_seconds
        What blocks in flight get to finish after the first SIGINT or SIGTERM.
    unchecked_ndsafir
        Accept a version of ndsafir that the tiling law was not checked with.
    strict
        Refuse what there are warnings of.
    extend
        Go on where the image has got longer along t since, and is the same otherwise:
        what is done is kept as far as it is what it would be of the longer image.
    say
        Takes the summary, and what a person should read before it.
    tell
        Takes events, for other programs: see `events.Tell`.

    Raises
    ------
    InputError, RefusedError
        The run can't be; nothing was started or written.
    BlocksFailed, RunStopped, Interrupted
        The run ended without all blocks done; start again to go on.
    """
    with end_told(tell) as told:
        asked = Asked(
            tasks, overwrite, grace_seconds, unchecked_ndsafir, strict, extend, told
        )
        (run_many if is_many(config) else run_one)(config, asked, say)
