"""A run that was begun: restored, held against its output, and told of its input."""

from denoise_daisy.durable import is_there
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.resolved.resolve import check_input, restore
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.output_places import check_run_of


def recorded_run(record: RunRecord, run_dir: RunDir) -> tuple[ResolvedRun, str]:
    """The run of a run.json, and what is wrong with its input, which need not be there.

    Raises
    ------
    RefusedError
        Its output is gone or another's, or the record can't be used.
    """
    run = restore(record, run_dir)
    if not is_there(run.output):
        raise RefusedError(
            f"The output {str(run.output)!r} is not there, only its run directory is."
            " Put it back, or move the run directory to where the output is now."
        )
    check_run_of(run.output, record)
    try:
        check_input(run, record)
    except (InputError, RefusedError) as error:
        return run, str(error)
    return run, ""
