"""`init`: a complete config for a file, whose every choice is explained."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoise_daisy.config import Config
from denoise_daisy.denoisers.survey import Survey, survey
from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.images.formats import open_image
from denoise_daisy.images.image import Image
from denoise_daisy.images.input import Input
from denoise_daisy.images.series_files import place_of
from denoise_daisy.launchers import KINDS
from denoise_daisy.resolved.resolve import resolve
from denoise_daisy.runs.commented import commented
from denoise_daisy.runs.init_noise import is_shifted, noise_section, noise_text
from denoise_daisy.runs.many_images import is_pattern
from denoise_daisy.runs.presets import Preset, preset_for
from denoise_daisy.runs.warnings import warnings_of
from denoise_daisy.sections import is_url, located

SCHEMA = "denoise_daisy.schema.json"
"""Beside the config, for editors."""

UNBIASED = "unbiased: ndsafir's own would change a channel's total by over 1 %."

JOBS = 8
"""Workers of a batch system to begin with."""


def init(
    path: str | Path,
    output: str | Path = "config.json",
    *,
    scene: int | None = None,
    workers: str = "local",
) -> str:
    """Write a config for an image, and the schema beside it; says what was chosen.

    Raises
    ------
    InputError
        The image can't be denoised, the config is there already or can't be written.
    """
    target = Path(output).absolute()
    if target.exists() or target.is_symlink():
        raise InputError(
            f"{str(output)!r} is there already. Expected a new name: choose it with -o,"
            " or move that file away."
        )
    if is_pattern(str(path)):
        raise InputError(
            f"{str(path)!r} stands for many images. Expected one of them: make a config"
            " of that, and put the pattern into its input.path."
        )
    file = located(Path.cwd(), str(path))
    image = open_image(Input(path=file, scene=scene))
    draft = _draft(file, target, image, scene, workers)
    text = draft.text()
    Config.parse(text.encode(), name=str(output), folder=target.parent)
    schema = json.dumps(Config.model_json_schema(), indent=2)
    try:
        write_atomic(target.with_name(SCHEMA), schema + "\n")
        write_atomic(target, text)
    except OSError as error:
        raise InputError(
            f"{str(output)!r} can't be written ({error.strerror}). Expected a place for"
            " a new file: choose it with -o."
        ) from error
    warnings = [f"Warning: {warning}" for warning in draft.warnings]
    said = f"{output}: for {draft.preset.name}. {draft.preset.why}"
    verbs = [f"denoise-daisy {verb} {output}" for verb in ("preview", "plan")]
    return "\n".join([said, *warnings, f"Next: {', '.join(verbs)}"])


@dataclass(frozen=True)
class _Draft:
    """A config that is being written."""

    values: dict[str, Any]
    image: Image
    preset: Preset
    found: Survey
    blocks: str
    warnings: tuple[str, ...]

    def text(self) -> str:
        """The config, with comments."""
        preset, said = self.preset, [*_facts(self.image)]
        workers = KINDS[self.values["workers"]["kind"]].model_fields
        mirrored = "all: also the last layers, which no patch of ndsafir's reaches."
        comments = {
            "": "\n".join([*said, *map("Warning: {}".format, self.warnings)]),
            "$schema": "For editors: what each key means.",
            "input.roi": 'A part of it, such as {"z": [0, 16], "y": [256, null]}.',
            "input.channels": "By number or name; null: all, denoised jointly.",
            "output.dtype": "input: the image's own; or uint8, uint16, float32.",
            "noise": noise_text(self.found),
            "denoise": f"For {preset.name}. {preset.why}",
            "denoise.max_iter": preset.iterations_why,
            "denoise.cover": mirrored if preset.cover == "all" else "",
            "denoise.inverse": UNBIASED
            if self.values["denoise"]["inverse"] != "ndsafir"
            else "",
            "denoise.precision": "float32: the same within rounding, much faster.",
            "blocks": f"Chosen from memory and time; here and now {self.blocks}.",
        }
        of_workers = {
            f"workers.{k}": " ".join((field.description or "").split())
            for k, field in workers.items()
        }
        return commented(self.values, comments | of_workers)


def _draft(
    file: str, target: Path, image: Image, scene: int | None, workers: str
) -> _Draft:
    """All that is to be written, held against the image."""
    folder, found = target.parent, survey(image)
    preset = preset_for(image.shape, image.scale_um)
    of_scene = "" if scene is None else f"_scene{scene}"
    output = _output(file, folder, of_scene)
    values: dict[str, Any] = {
        "$schema": f"./{SCHEMA}",
        "input": {
            "path": file if is_url(file) else _from(folder, Path(file)),
            "scene": scene,
            "roi": {},
            "channels": None,
        },
        "output": {"path": _from(folder, output), "dtype": "input"},
        "noise": {"kind": "poisson-gaussian"},
        "denoise": {
            "patch": preset.patch,
            "active_dimensions": preset.active_dimensions,
            "max_iter": preset.max_iter,
            "pvalue": 0.1,
            "cover": preset.cover,
            "time_as_z": preset.time_as_z,
            "inverse": "ndsafir",
            "precision": "bitwise",
        },
        "blocks": {"shape": "auto", "memory_gib": "auto"},
        "workers": _workers(workers),
    }
    problems = []
    try:
        values["noise"] = noise_section(found)
        if values["noise"]["kind"] != "gaussian" and is_shifted(found):
            values["denoise"]["inverse"] = "unbiased"
    except InputError as error:
        problems.append(str(error))
    config = Config.parse(json.dumps(values).encode(), name=str(target), folder=folder)
    run = resolve(config, None, "INIT")
    grid = run.denoising.grid
    shape = zip(AXES, grid.block_shape, strict=True)
    blocks = f"{grid.size} of {' '.join(f'{axis} {n}' for axis, n in shape)} voxels"
    warnings = (*warnings_of(run, None if problems else found), *problems)
    return _Draft(values, image, preset, found, blocks, warnings)


def _output(file: str, folder: Path, of_scene: str) -> Path:
    """Beside the image, and in no Zarr; of a URL in the config's folder."""
    path = Path(file) if is_url(file) else place_of(Path(file))
    zarrs = [p for p in (path, *path.parents) if p.suffix.lower() == ".zarr"]
    outer = zarrs[-1] if zarrs else path
    level = "".join(f"_{part}" for part in path.relative_to(outer).parts)
    stem = outer.stem.removesuffix(".ome")
    name = f"{stem}{level}{of_scene}_denoised.zarr"
    return folder / name if is_url(file) else outer.with_name(name)


def _workers(kind: str) -> dict[str, Any]:
    """Every key of that kind of workers, as it is if nobody sets it."""
    section = KINDS[kind]
    asked: dict[str, Any] = {"kind": kind}
    if section.model_fields["count"].is_required():
        asked["count"] = JOBS
    return section.model_validate(asked).model_dump(mode="json")


def _from(folder: Path, path: Path) -> str:
    """Relative where the config's folder holds it."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _facts(image: Image) -> list[str]:
    """What the image is, a line each."""
    sizes = zip("tczyx", image.shape, strict=True)
    said = ", ".join(f"{axis} {n}" for axis, n in sizes)
    names = ", ".join(
        f"{i} {channel.name!r}" for i, channel in enumerate(image.channels)
    )
    known = zip("zyx", image.scale_um, strict=True)
    scale = ", ".join(f"{axis} {n or '?'}" for axis, n in known)
    step = f"; {image.time_step_s:g} s between time points" if image.time_step_s else ""
    return [
        "A config of denoise-daisy, by its `init`.",
        f"Image: {said} voxels of {image.dtype}. Channels: {names}.",
        f"Voxel size in um: {scale}{step}.",
    ]
