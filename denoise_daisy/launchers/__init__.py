"""How workers are started, watched and ended: here, or by a batch system.

A new kind of workers is a new module, and its section in `Workers`.
"""

from typing import Annotated

from pydantic import Tag

from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.lsf import LsfWorkers
from denoise_daisy.launchers.slurm import SlurmWorkers
from denoise_daisy.sections import by_kind

Workers = Annotated[
    Annotated[LocalWorkers, Tag("local")]
    | Annotated[SlurmWorkers, Tag("slurm")]
    | Annotated[LsfWorkers, Tag("lsf")],
    by_kind("local"),
]
