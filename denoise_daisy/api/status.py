"""`status`: how far a run is, as values."""

from denoise_daisy.api.found import AnyRun, find_run
from denoise_daisy.errors import InputError
from denoise_daisy.monitoring.collect import run_status
from denoise_daisy.monitoring.values import RunStatus
from denoise_daisy.run_dir.many_record import ManyRecord, is_of_many


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
    found = find_run(run)
    if is_of_many(found):
        names = ", ".join(ManyRecord.of(found).images)
        raise InputError(
            f"{str(found.path)!r} is the run of many images ({names}). Expected the"
            " output of one of them."
        )
    return run_status(found)
