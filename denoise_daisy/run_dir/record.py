"""run.json: what a run computes, as typed values."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from denoise_daisy.durable import persistently, write_atomic
from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.wording import wrong


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageRecord(_Recorded):
    """What is kept of a stage."""

    fingerprint: str
    """A hash of `parameters`."""

    parameters: dict[str, Any]
    """Everything that decides its bytes, by name; empty once what it did is deleted."""

    block_shape: tuple[int, int, int, int]
    """Voxels of a block, ``(t, z, y, x)``."""

    probed: dict[str, Any] | None
    """What had to be found out by trying: noise numbers, a function's result type."""

    output: str
    """What it writes, as a path from the folder of the run's output."""

    @property
    def is_deleted(self) -> bool:
        """Whether what it did was deleted, or is to be: none of it counts."""
        return not self.parameters


class RunRecord(_Recorded):
    """The contents of run.json."""

    id: str
    """Unguessable; tells the run from one that replaces it."""

    replaces: str | None = None
    """The run that is being deleted for this one, whose output may be there yet."""

    rerun_of: str | None = None
    """The run that it does again, from what the output of that one says."""

    epoch: int
    """Tells the starts of the run apart."""

    begun: str | None = None
    """When it was started first, as ISO 8601 has it; nothing in records of old."""

    config: dict[str, Any]
    """The config, all numbers of workers and threads resolved."""

    image: dict[str, Any] | None = None
    """What was found out about the image, so that workers need not find it out again;
    nothing in records of old, whose workers open the image."""

    earlier: dict[str, str | int] | None = None
    """What tells the image's time points from others if more follow them later; nothing
    where its format can't tell, and in records of old."""

    stages: dict[str, StageRecord]
    """The stages by name, those of tasks that were taken out as well."""

    versions: dict[str, str]
    """Of this program and its engines, when it was started last."""

    engine: str | None = None
    """What its last start was to denoise with, on its machine, in words; the ledger
    tells of each block what did."""

    warnings: tuple[str, ...] = ()
    """What a person was told at its last start that had to denoise."""

    @classmethod
    def read(cls, run_dir: RunDir) -> Self | None:
        """The record of a run, None where no run was started here.

        Raises
        ------
        RefusedError
            The folder or its run.json is something else.
        """
        try:
            return cls.model_validate_json(persistently(run_dir.run_file.read_bytes))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            problem = _problem(error)
        except OSError as error:
            problem = f"can't be read ({error})"
        raise RefusedError(
            f"{str(run_dir.run_file)!r} {problem}. Expected the record of a run of this"
            " version of denoise_daisy; move the run directory and its output away, or"
            " choose another output.path."
        )

    @classmethod
    def of(cls, run_dir: RunDir) -> Self:
        """The record of a run that was found by it.

        Raises
        ------
        RefusedError
            It is gone, or something else.
        """
        record = cls.read(run_dir)
        if record is None:
            raise RefusedError(
                f"{str(run_dir.run_file)!r} is gone. Expected the record of a run; put"
                " it back."
            )
        return record

    def write(self, run_dir: RunDir) -> None:
        """Replace run.json, durably."""
        write_atomic(run_dir.run_file, self.model_dump_json(indent=2) + "\n")

    def with_stages(self, stages: Mapping[str, StageRecord]) -> Self:
        """The record with some stages replaced."""
        return self.model_copy(update={"stages": {**self.stages, **stages}})


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "can't be read (it is no JSON)"
    where = ".".join(map(str, first["loc"])) or "all of it"
    return f"is no run.json of this version of the program ({where}: {wrong(first)})"
