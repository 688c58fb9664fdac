"""What is kept of a start of many images, beside each one's own run.json."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from denoise_daisy.durable import persistently, write_atomic
from denoise_daisy.errors import RefusedError
from denoise_daisy.run_dir.run_dir import RunDir

FILE = "images.json"


class ManyRecord(BaseModel):
    """The contents of images.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """Unguessable; jobs of workers bear it in their name."""

    images: dict[str, str] = {}
    """Outputs by the names of the images, of the last start; as paths from the folder
    of this run directory."""

    noise: dict[str, Any] | None = None
    """The noise of all images together, once it was found."""

    def outputs(self, run_dir: RunDir) -> dict[str, Path]:
        """Where the outputs are, by the names of the images."""
        folder = run_dir.path.parent
        return {name: (folder / out).absolute() for name, out in self.images.items()}

    @classmethod
    def of(cls, run_dir: RunDir) -> Self:
        """That of a start.

        Raises
        ------
        RefusedError
            It is gone, or something else.
        """
        record = cls.begun(run_dir, "")
        if not record.id:
            raise RefusedError(
                f"{str(run_dir.path / FILE)!r} is gone. Expected the record of a run of"
                " many images; put it back."
            )
        return record

    @classmethod
    def begun(cls, run_dir: RunDir, new_id: str) -> Self:
        """That of an earlier start, or a new one.

        Raises
        ------
        RefusedError
            It is something else.
        """
        path = run_dir.path / FILE
        try:
            return cls.model_validate_json(persistently(path.read_bytes))
        except FileNotFoundError:
            return cls(id=new_id)
        except (OSError, ValidationError) as error:
            raise RefusedError(
                f"{str(path)!r} can't be read. Expected what an earlier start of these"
                " images has kept; delete it to begin anew with what is to be found out"
                " once for all of them."
            ) from error

    def write(self, run_dir: RunDir) -> None:
        """Replace images.json, durably."""
        write_atomic(run_dir.path / FILE, self.model_dump_json(indent=2) + "\n")


def is_of_many(run_dir: RunDir) -> bool:
    """Whether a folder is the run directory of many images together."""
    return (run_dir.path / FILE).is_file()


def hub_of(run_dir: RunDir) -> RunDir | None:
    """The run directory of many images together of which a run does one.

    It lies beside the run's own, or beside one of the folders that the run lies in.
    """
    folder = run_dir.path.parent
    around = [RunDir.of_output(f) for f in (folder, *folder.parents[:3]) if f.name]
    beside = [RunDir(path.parent) for path in folder.glob(f"*.run/{FILE}")]
    for hub in filter(is_of_many, [*around, *beside]):
        with suppress(RefusedError):
            if run_dir.output in ManyRecord.of(hub).outputs(hub).values():
                return hub
    return None
