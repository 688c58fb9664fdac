"""What the sections of all kinds of tasks have in common: the seam for tasks.

A task builds its stages itself, with a `StageBuilder`.  To add a kind, write a module
with a section that has a `build`, and name the section in `denoise_daisy.tasks`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, NonNegativeInt

from denoise_daisy.blockwise.block_shape import TaskBlocks
from denoise_daisy.launchers import Workers
from denoise_daisy.sections import Section
from denoise_daisy.wording import INPUT_NAME, NAME

if TYPE_CHECKING:
    from denoise_daisy.tasks.builder import StageBuilder

RESERVED = ("raw", "denoised", "denoise")
"""Names that no task can have."""


def _task_name(value: str) -> str:
    if value in RESERVED:
        raise ValueError(f"a name of your own; {', '.join(RESERVED)} are taken")
    return value


Name = Annotated[str, Field(pattern=NAME), AfterValidator(_task_name)]
InputName = Annotated[str, Field(pattern=INPUT_NAME)]


class AnyTask(Section):
    """What holds for every task."""

    name: Name
    """Name of the task, of its output and of its ledger."""

    blocks: TaskBlocks = TaskBlocks()
    """How its volume is cut."""

    workers: Workers | None = None
    """Workers of its own; null: those of the run do its blocks as well."""

    max_retries: NonNegativeInt | None = None
    """How often a failed block is tried again; null: as in its workers."""

    keep: bool = True
    """Whether its output is kept.  false: it is deleted once all tasks that read it are
    done and read back; what needs it later has it computed again.  A table is kept."""

    def with_paths_from(self, folder: Path) -> Self:
        """The task with every relative path made absolute."""
        return self

    def build(self, builder: "StageBuilder") -> None:
        """Add its stages, each after those that it reads, and offer what they make.

        Raises
        ------
        InputError
            The task can't work with what it reads.
        """
        raise NotImplementedError


class OneInput(AnyTask):
    """What holds for every task that reads one array."""

    input: InputName = "denoised"
    """What it reads: denoised, raw, the name of a task, or a level of a pyramid, such
    as pyramid.1."""
