"""`report`: how good a run has become, and what it cost, as values and as a page."""

import os
from pathlib import Path

from denoise_daisy.api.found import AnyRun, find_one
from denoise_daisy.assessing.files import Written, write_report


def report(
    run: AnyRun,
    *,
    file: str | os.PathLike[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
    seconds: float | None = None,
) -> Written:
    """Measure how good a run has become and what it cost, and write that down.

    Parameters
    ----------
    run
        The output, its config or its run directory.
    file
        The page; None: ``status.html`` in the run directory.
    reference
        An image of the same without noise, for PSNR and SSIM.
    seconds
        Leave out what takes longer; None: as long as it takes.

    Returns
    -------
    Written
        The `report` as values, and where its `page` is; a notebook shows the page.

    Raises
    ------
    InputError
        There is no such run, it is of many images, or a file can't be used.
    RefusedError, RunStopped
        The run's record can't be used; or the files can't be written.
    """
    found = find_one(run)
    return write_report(
        found,
        file=None if file is None else Path(file),
        reference=None if reference is None else os.fspath(reference),
        seconds=seconds,
    )
