"""`status`: how far a run is, as values."""

from denoise_daisy.api.found import AnyRun, find_one
from denoise_daisy.monitoring.collect import run_status
from denoise_daisy.monitoring.values import RunStatus


def status(run: AnyRun) -> RunStatus:
    """How far a run is, from its files alone, while it goes on or long after.

    Parameters
    ----------
    run
        The output, its config or its run directory.

    Returns
    -------
    RunStatus
        Its state, and of each stage how many blocks are done, failed, orphaned and
        left; workers, failures with their reasons, slowest blocks, noise, warnings.

    Raises
    ------
    InputError
        There is no such run, or it is of many images: ask for each output.
    RefusedError
        The output is gone or another's, or its record can't be read.
    """
    return run_status(find_one(run))
