"""`run`: denoise, and what came of it as a value."""

from collections.abc import Sequence
from pathlib import Path

from denoise_daisy.api.result import Result
from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.errors import BlocksFailed
from denoise_daisy.events import Tell, end_told
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.many import run_many
from denoise_daisy.runs.many_images import is_many, run_dir_of_many
from denoise_daisy.runs.run_one import Asked, Say, run_one


def run(  # noqa: PLR0913 - what a person may ask for
    config: AnyConfig,
    *,
    tasks: Sequence[str] = (),
    overwrite: bool = False,
    grace_seconds: float = 30.0,
    unchecked_ndsafir: bool = False,
    strict: bool = False,
    extend: bool = False,
    say: Say = print,
    tell: Tell | None = None,
) -> Result:
    """Denoise what a config asks for; go on where an earlier start stopped.

    Parameters
    ----------
    config
    tasks, overwrite, grace_seconds, unchecked_ndsafir, strict, extend
        As the options of the command line: only these tasks (``denoise`` the first);
        start over; seconds that blocks in flight get after an interrupt; any version
        of ndsafir; refuse what there are warnings of; go on where the image has got
        longer along t.
    say, tell
        Take what a person reads, and events for other programs (`events.Tell`).

    Raises
    ------
    InputError, RefusedError
        The run can't be; nothing was started or written.
    BlocksFailed
        Some blocks failed for good; its `result` is what would have been returned.
    RunStopped, Interrupted
        The run ended before all blocks were done; start again to go on.
    """
    given = Config.of(config)
    try:
        with end_told(tell) as told:
            asked = Asked(
                tasks, overwrite, grace_seconds, unchecked_ndsafir, strict, extend, told
            )
            (run_many if is_many(given) else run_one)(given, asked, say)
    except BlocksFailed as error:
        error.result = _result(given)
        raise
    return _result(given)


def _result(config: Config) -> Result:
    if is_many(config):
        return Result(run_dir_of_many(config))
    return Result(RunDir.of_output(Path(config.output.path)))
