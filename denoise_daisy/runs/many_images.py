"""The images that one config names, each with the config of a run of its own."""

import glob
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.images.format import SceneName
from denoise_daisy.images.formats import ending_of, is_image, positions_of, scenes_of
from denoise_daisy.images.input import ALL
from denoise_daisy.run_dir.run_dir import RunDir

NAME, SCENE = "{name}", "{scene}"
"""What stands in output.path for an image's name and the number of its scene."""

TOGETHER = "all"
"""What stands there in the name of their run directory."""

MOST_LISTED = 5


@dataclass(frozen=True)
class OneOfMany:
    """An image of several."""

    name: str
    """What it is called in a table."""
    config: Config
    """That of a run of it alone."""
    container: Path | None = None
    """The OME-Zarr that holds it among other scenes of its file."""
    well: tuple[str, str] | None = None
    """Row and column of its plate."""
    problem: InputError | None = None
    """Why its file can't even be looked into."""

    @property
    def output(self) -> Path:
        """Its OME-Zarr."""
        return Path(self.config.output.path)


def is_many(config: Config) -> bool:
    """Whether a config names several images, or any number of them."""
    path = config.input.path
    named = NAME in config.output.path or SCENE in config.output.path
    several = not isinstance(path, str) or is_pattern(path)
    split = ALL in (config.input.scene, *config.input.select.values())
    return several or split or named


def run_dir_of_many(config: Config) -> RunDir:
    """The run directory of all images together."""
    path = config.output.path.replace(NAME, TOGETHER).replace(SCENE, TOGETHER)
    return RunDir.of_output(Path(path))


def images_of(config: Config) -> list[OneOfMany]:
    """The images that a config names now, in their order; each once.

    What fits a pattern and is an output of the same config is none of them.

    Raises
    ------
    InputError
        There is none, or two would have one output.
    """
    found = _images(config, _paths(config))
    outputs = {str(image.output) for image in found}
    kept = [i for i in found if i.config.input.one.path not in outputs]
    if not kept:
        raise InputError(
            f"input.path is {config.input.path!r}, and nothing fits it. Expected at"
            " least one file."
        )
    _check_names(kept)
    return kept


def first_of(config: Config) -> tuple[Config, str]:
    """The config of an image by itself, the first of several, and a word of it.

    Raises
    ------
    InputError
        There is none, or it can't be looked into.
    """
    if not is_many(config):
        return config, ""
    images = images_of(config)
    if images[0].problem:
        raise images[0].problem
    return images[0].config, f"Of {len(images)} images the first: {images[0].name}."


def is_pattern(path: str) -> bool:
    """Whether * and ? in a path are to be filled in, for there is no such file."""
    is_series = bool(re.search(r"\{[tcz]\}", path))
    return not is_series and bool(re.search(r"[*?]", path)) and not Path(path).exists()


def _paths(config: Config) -> list[str]:
    asked = config.input.path
    paths = [asked] if isinstance(asked, str) else [*asked]
    found = [p for path in paths for p in _matches(path)]
    return list(dict.fromkeys(found))


def _matches(path: str) -> Iterator[str]:
    if not is_pattern(path):
        yield path
        return
    # Brackets are common in names, and no pattern here.
    pattern = path.replace("[", "[[]")
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - of any root
    fits = (p for p in found if Path(p).is_file() or is_image(Path(p)))
    yield from sorted(fits, key=_natural)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A key by which 2 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p)) if p.isdecimal() else (1, p) for p in parts if p]


def _images(config: Config, paths: Sequence[str]) -> list[OneOfMany]:
    is_list = not isinstance(config.input.path, str) or is_pattern(config.input.path)
    found: list[OneOfMany] = []
    for path in paths:
        base = config.output.path.replace(NAME, _stem(path))
        if base == config.output.path and is_list:
            base = str(Path(base) / f"{_stem(path)}.zarr")
        found += _of_file(config, path, base)
    return found


@dataclass(frozen=True)
class _Part:
    """What of a file is an image."""

    scene: SceneName
    select: Mapping[str, int]
    is_split: bool
    """Whether the file has others, or could have."""

    @property
    def number(self) -> int:
        """Of its scene."""
        return self.scene.number or 0

    @property
    def name(self) -> str:
        """Behind that of its file."""
        named = f" ({self.scene.name})" if self.scene.name else ""
        scene = f" scene {self.number}{named}"
        return scene + "".join(f" {d} {i}" for d, i in self.select.items())


def _parts(config: Config, path: str) -> Iterator[_Part]:
    """The images of a file; raises InputError where it can't be read."""
    source = config.input
    split = [letter for letter, asked in source.select.items() if asked == ALL]
    is_split = source.scene == ALL or bool(split)
    scenes = (
        scenes_of(path) if source.scene == ALL else (SceneName(_number(source.scene)),)
    )
    for scene in scenes:
        there = positions_of(path, scene.number) if split else {}
        ranges = [there.get(letter, range(1)) for letter in split]
        for chosen in itertools.product(*ranges):
            letters = map(str, split)
            yield _Part(scene, dict(zip(letters, chosen, strict=True)), is_split)


def _number(scene: int | str | None) -> int | None:
    return scene if isinstance(scene, int) else None


def _of_file(config: Config, path: str, base: str) -> Iterator[OneOfMany]:
    """The images of a file, whose outputs are at or in `base`."""
    stem = _stem(path)
    try:
        parts = list(_parts(config, path))
    except InputError as error:
        alone = _Part(SceneName(None), {}, is_split=False)
        one = _config(config, path, alone, Path(base.replace(SCENE, "0")))
        yield OneOfMany(stem, one, problem=error)
        return
    in_wells = all(part.scene.well for part in parts)
    fields: Counter[tuple[str, str] | None] = Counter()
    for i, part in enumerate(parts):
        place = Path(base.replace(SCENE, str(part.number)))
        if not part.is_split or (SCENE in base and not part.select):
            name = stem + part.name if part.is_split else stem
            yield OneOfMany(name, _config(config, path, part, place))
            continue
        well = part.scene.well if in_wells else None
        inside = Path(*well, str(fields[well])) if well else Path(str(i))
        fields[well] += 1
        one = _config(config, path, part, place / inside)
        yield OneOfMany(stem + part.name, one, place, well)


def _config(config: Config, path: str, part: _Part, output: Path) -> Config:
    """That of one image: whom to tell is the business of all together."""
    select: dict[str, object] = {str(d): n for d, n in config.input.select.items()}
    select |= part.select
    source = {"path": path, "scene": part.scene.number, "select": select}
    return config.model_copy(
        update={
            "input": config.input.model_copy(update=source),
            "output": config.output.model_copy(update={"path": str(output)}),
            "notify": None,
        }
    )


def _stem(path: str) -> str:
    name = path.rstrip("/").rpartition("/")[2]
    return name[: len(name) - len(ending_of(name))] or name


def _check_names(images: Sequence[OneOfMany]) -> None:
    places = Counter(image.output for image in images)
    for place, count in places.items():
        if count > 1:
            paths = [i.config.input.one.path for i in images if i.output == place]
            raise InputError(
                f"{count} images would be written to {str(place)!r}:"
                f" {', '.join(map(repr, paths[:MOST_LISTED]))}. Expected one each: put"
                f" {NAME} or {SCENE} into output.path, or name the files otherwise."
            )
