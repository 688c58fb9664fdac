"""How workers are started, watched and ended: here, or by a batch system.

A new kind of workers is a new module, and its section in `Workers`.
"""

from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import Tag

from denoise_daisy.launchers import lsf, slurm
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.lsf import LsfWorkers
from denoise_daisy.launchers.slurm import SlurmWorkers
from denoise_daisy.launchers.workers import AnyWorkers
from denoise_daisy.sections import by_kind

Workers = Annotated[
    Annotated[LocalWorkers, Tag("local")]
    | Annotated[SlurmWorkers, Tag("slurm")]
    | Annotated[LsfWorkers, Tag("lsf")],
    by_kind("local"),
]

KINDS: Mapping[str, type[AnyWorkers]] = {
    tag.tag: section for section, tag in map(get_args, get_args(get_args(Workers)[0]))
}
"""The sections, by kind."""


def own_job(environment: Mapping[str, str]) -> str:
    """The job of a batch system that this process is in; empty where it is in none."""
    return slurm.own_job(environment) or lsf.own_job(environment)
