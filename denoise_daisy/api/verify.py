"""`verify`: an output read back and held against what was written."""

from denoise_daisy.api.found import AnyRun, find_one
from denoise_daisy.runs.verify import Verification, verified


def verify(run: AnyRun) -> Verification:
    """Read an output back and compare it with the checksums in its ledger.

    Damaged blocks, and those that read them, count as undone from then on: the next
    start computes just them.

    Parameters
    ----------
    run
        The output, its config or its run directory.

    Returns
    -------
    Verification
        How many blocks were read and are left, and which are damaged.  Its `check`
        raises what the command line ends with where it is not whole.

    Raises
    ------
    InputError
        There is no such run, or it is of many images: verify each output.
    RefusedError
        A scheduler is at work, or the output is gone or another's.
    RunStopped
        Something could not be read for another reason than damage; nothing was marked.
    """
    return verified(find_one(run))
