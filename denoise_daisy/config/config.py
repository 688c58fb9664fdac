"""A run's config: one file, made of the sections that each part of the program has.

Shapes and radii are keyed by axis letter, so that their order can't be mistaken;
integers are voxels.  The docstrings of the sections are the descriptions in the JSON
Schema.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from denoise_daisy.blockwise.block_shape import Blocks
from denoise_daisy.config.json5_text import json_of, read_text
from denoise_daisy.config.problems import problems_of
from denoise_daisy.denoisers import Denoise
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.denoisers.noise import Noise, PoissonGaussian
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import is_image
from denoise_daisy.images.input import Input
from denoise_daisy.launchers import Workers
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.notify import Notify
from denoise_daisy.outputs.layout import Output
from denoise_daisy.sections import Section, absolute, located
from denoise_daisy.tasks import Task


class Config(Section):
    """A run of denoise_daisy."""

    json_schema: str | None = Field(default=None, alias="$schema", exclude=True)
    """Where an editor finds the JSON Schema; of no meaning to a run."""

    input: Input
    """The image to denoise."""

    output: Output
    """The OME-Zarr to write."""

    noise: Noise = PoissonGaussian()
    """The noise model and its numbers."""

    denoise: Denoise = Ndsafir()
    """The denoiser (kind: ndsafir unless said otherwise) and its parameters."""

    blocks: Blocks = Blocks()
    """How the image is cut."""

    workers: Workers = LocalWorkers()
    """Who computes the blocks."""

    tasks: tuple[Task, ...] = ()
    """What runs on the denoised blocks, each as soon as what it reads is done."""

    notify: Notify | None = None
    """Whom to tell when the run ends, or gives up its first block; null: nobody."""

    @model_validator(mode="after")
    def _noise_is_of_use(self) -> Self:
        if not self.denoise.knows_noise and "noise" in self.model_fields_set:
            raise ValueError(
                f"no noise: a {self.denoise.kind} filter has no use for its numbers"
            )
        return self

    @model_validator(mode="after")
    def _task_names_differ(self) -> Self:
        names = [task.name for task in self.tasks]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"tasks of different names; twice: {sorted(twice)}")
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """The config as JSON, for run.json.

        Without `notify`: whom to tell is that start's business, and may be a secret.
        """
        unused = {"notify"} if self.denoise.knows_noise else {"notify", "noise"}
        return self.model_dump(mode="json", exclude=unused)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a config file; relative paths in it count from its folder.

        Raises
        ------
        InputError
            The file is absent, an image, no JSON5, or no config; the message names the
            keys.  Or it is no path at all.
        """
        _check_path(path)
        path = Path(path)
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            raise InputError(
                f"The config {str(path)!r} can't be read ({_reason(error)}). Expected a"
                " file in JSON or JSON5; `denoise-daisy schema` describes it."
            ) from error
        return cls.parse(data, name=str(path), folder=path.parent)

    @classmethod
    def parse(cls, data: bytes, *, name: str, folder: Path) -> Self:
        """A config from a text in JSON5; relative paths count from `folder`."""
        try:
            values = read_text(data)
        except ValueError as error:
            raise _no_json(name, str(error)) from error
        try:
            config = cls.model_validate_json(json.dumps(values))
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                raise _no_json(name, "it is nested too deeply") from error
            problems = "; ".join(problems_of(cls, error.errors(), values))
            raise InputError(
                f"The config {name!r} can't be used: {problems}. `denoise-daisy schema`"
                " describes every key."
            ) from error
        return config.with_paths_from(folder.absolute())

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, folder: str | Path | None = None
    ) -> Self:
        """A config from values as they stand in a config file.

        Relative paths count from `folder`, or from the current working directory.

        Raises
        ------
        InputError
            It is no config; the message names the keys, as that of a file does.
        """
        there = Path(folder or ".")
        return cls.parse(json_of(values), name="given as a dict", folder=there)

    @classmethod
    def of(cls, config: "AnyConfig") -> Self:
        """The config that is given: as one, by the path of its file, or as a dict.

        Raises
        ------
        InputError
            As `load` and `from_dict` do.
        """
        if isinstance(config, cls):
            return config.with_paths_from(Path.cwd())
        if isinstance(config, str | os.PathLike):
            return cls.load(Path(config))
        if isinstance(config, Mapping):
            return cls.from_dict(config)
        raise InputError(
            f"A config was given as {type(config).__name__}. Expected a Config, the"
            " path of a config file, or a dict."
        )

    def with_paths_from(self, folder: Path) -> Self:
        """The config with every relative path made absolute."""
        asked = self.input.path
        paths = (asked,) if isinstance(asked, str) else asked
        whole = tuple(located(folder, path) for path in paths)
        source = {"path": whole[0] if isinstance(asked, str) else whole}
        target = {"path": absolute(folder, self.output.path)}
        return self.model_copy(
            update={
                "input": self.input.model_copy(update=source),
                "output": self.output.model_copy(update=target),
                "tasks": tuple(task.with_paths_from(folder) for task in self.tasks),
                "notify": self.notify and self.notify.with_paths_from(folder),
            }
        )


AnyConfig: TypeAlias = Config | str | os.PathLike[str] | Mapping[str, Any]
"""A config, the path of its file, or its values."""


def _check_path(path: object) -> None:
    """Refuse what is no path, and that of an image."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"Config.load was given {type(path).__name__}. Expected the path of a"
            " config file; Config.from_dict takes values, and Config.of takes both."
        )
    if is_image(Path(path) if isinstance(path, os.PathLike) else path):
        raise InputError(
            f"{str(path)!r} is an image. Expected a config: `denoise-daisy init"
            f" {path}` writes one for it."
        )


def _no_json(name: str, why: str) -> InputError:
    return InputError(
        f"The config {name!r} is no valid JSON, nor JSON5: {why}. Correct it there."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
