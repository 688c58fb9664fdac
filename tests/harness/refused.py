"""A good config, a mistake made in it, and what a refusal looks like."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi

from harness import config_for, write_config

SHAPE = (1, 2, 4, 40, 48)
"""Of the image that the good config is for, (t, c, z, y, x)."""

NOISE = {"kind": "poisson-gaussian", "gains": [3.9, 3.9], "offsets": [-367, -367]}

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 12345\n"
)


@dataclass(frozen=True)
class Case:
    """A mistake: values to put into the good config, or a thing done to the folder."""

    words: tuple[str, ...]
    """All of them are in the message."""
    values: dict[str, Any] = field(default_factory=dict)
    """By place, as "blocks.shape"."""
    prepare: Callable[[Path], object] | None = None
    code: int = 2
    text: Callable[[str], bytes] | None = None
    """Makes the config file's bytes of the config's JSON."""


def good_config(folder: Path) -> dict[str, Any]:
    values = config_for(folder / "in.czi", folder / "out.zarr", noise_channels=2)
    return values | {"noise": dict(NOISE), "blocks": {}}


def put(config: dict[str, Any], place: str, value: Any) -> None:
    *sections, key = place.split(".")
    for name in sections:
        config = config.setdefault(name, {})
    config[key] = value


def listing(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything in a folder: kinds, sizes, times, contents, targets of links."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = ""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        size = 0 if path.is_dir() else status.st_size
        found[str(path)] = (status.st_mode, size, status.st_mtime_ns, content)
    return found


def assert_one_paragraph(stderr: str, words: tuple[str, ...]) -> None:
    assert "Traceback" not in stderr, stderr
    assert stderr.startswith("denoise_daisy: "), stderr
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.rstrip().endswith((".", "?")), stderr
    for word in words:
        assert word in stderr, f"{word!r} is not in: {stderr}"


def no_run(folder: Path, name: str = "out.zarr") -> None:
    """An output folder of somebody else's."""
    (folder / name).mkdir()
    (folder / name / "precious.txt").write_text("mine")


def with_zarr_json(text: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "out.zarr").mkdir()
        (folder / "out.zarr" / "zarr.json").write_text(text)

    return prepare


def with_zarr_json_that_links_to_itself(folder: Path) -> None:
    """Nobody can read it, root neither."""
    (folder / "out.zarr").mkdir()
    (folder / "out.zarr" / "zarr.json").symlink_to("zarr.json")


def with_run_json(text: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "out.zarr.run").mkdir()
        (folder / "out.zarr.run" / "run.json").write_text(text)

    return prepare


def with_input(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "in.czi").write_bytes(content)


def with_image(image: np.ndarray) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / "in.czi").unlink()
        write_czi(folder / "in.czi", image)

    return prepare


def with_tiles(*tiles: tuple[str, np.ndarray]) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / "in.czi").unlink()
        with pylibczi.create_czi(str(folder / "in.czi")) as writer:
            for where, pixels in tiles:
                samples = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
                data = writer._format_data(samples)
                writer._czi_writer.AddTile(where, data, 0, 0, 0, "")
            writer.write_metadata("tiles")

    return prepare


def with_flat_image(folder: Path) -> None:
    with_image(np.full((1, 2, 4, 40, 48), np.nan, np.float32))(folder)


def set_up(folder: Path, image_file: Path, case: Case) -> Path:
    """The good config's folder with the mistake made in it; the config file."""
    shutil.copy(image_file, folder / "in.czi")
    if case.prepare:
        case.prepare(folder)
    config = good_config(folder)
    for place, value in case.values.items():
        put(config, place, value)
    path = write_config(folder / "config.json", config)
    if case.text:
        path.write_bytes(case.text(json.dumps(config)))
    return path
