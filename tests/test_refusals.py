"""What can't work is refused with one clear paragraph, before anything is written.

> 2  bad usage, config or input; nothing was started or written
> 4  refused: the output belongs to a run with other settings or another input
> Errors go to stderr as one short paragraph: what was found, what was expected, what to
> do; no traceback for codes 2-5.

Every case goes through the real command line and names the words that its message must
hold, so that a refusal for another reason is red; the folder is compared to the byte
before and after.  A program that refuses everything would be green, too: the same
config without the mistake must run, also under the oddest file names.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_czi import write_czi
from pylibCZIrw import czi as pylibczi
from support import cli, config_for, output_of, small_czi, whole_image, write_config

from denoise_daisy.__main__ import main
from denoise_daisy.czi import open_czi

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


@pytest.fixture(scope="module")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_czi(tmp_path_factory.mktemp("image") / "in.czi", SHAPE)


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets this for its whole process, which is the tests' here."""
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)


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


GREY8, GREY16 = np.ones((40, 48), np.uint8), np.ones((40, 48), np.uint16)

CONFIGS = {
    "the image is nowhere": Case(
        ("absent.czi", "No such file"), {"input.path": "absent.czi"}
    ),
    "the image is a number": Case(("'input.path' is 7",), {"input.path": 7}),
    "the image has no name": Case(("'input.path' is \"\"",), {"input.path": ""}),
    "the image's name has a NUL": Case(("NUL",), {"input.path": "a\0.czi"}),
    "the image's name is too long": Case(
        ("File name too long",), {"input.path": "a" * 300}
    ),
    "the image is in nobody's home": Case(
        ("~nosuchuser",), {"input.path": "~nosuchuser/in.czi"}
    ),
    "the image is a device": Case(("/dev/null", "empty"), {"input.path": "/dev/null"}),
    "the image is an endless device": Case(("is no CZI",), {"input.path": "/dev/zero"}),
    "an unknown section": Case(("'worker'", "'workers'"), {"worker": {}}),
    "an unknown key": Case(("'denoise.patchs'", "'patch'"), {"denoise.patchs": {}}),
    "a key of another noise": Case(
        ("'noise.noise_stds'", "'noise_std'"),
        {"noise": {"kind": "gaussian", "noise_stds": 1}},
    ),
    "an unknown kind of noise": Case(("'noise'", "'gaussian'"), {"noise.kind": "x"}),
    "a section that is null": Case(("'blocks' is null", "object"), {"blocks": None}),
    "a scene that is a string": Case(("'input.scene' is \"0\"",), {"input.scene": "0"}),
    "a scene that is a bool": Case(("'input.scene' is true",), {"input.scene": True}),
    "a scene in a file without": Case(("no scenes", "null"), {"input.scene": 0}),
    "a ROI outside": Case(
        ("input.roi.z is [2, 5]", "[0, 4]"), {"input.roi": {"z": [2, 5]}}
    ),
    "a ROI wholly outside": Case(
        ("input.roi.x is [99, 120]", "[0, 48]"), {"input.roi": {"x": [99, 120]}}
    ),
    "a ROI far outside": Case(
        ("input.roi.t", "[0, 1]"), {"input.roi": {"t": [0, 10**30]}}
    ),
    "an empty ROI": Case(
        ("'input.roi.y' is [7, 7]", "empty"), {"input.roi": {"y": [7, 7]}}
    ),
    "a reversed ROI": Case(
        ("'input.roi.y' is [9, 7]", "begin < end"), {"input.roi": {"y": [9, 7]}}
    ),
    "a negative ROI": Case(("'input.roi.y.0' is -1",), {"input.roi": {"y": [-1, 7]}}),
    "a ROI of channels": Case(("'input.roi.c'",), {"input.roi": {"c": [0, 1]}}),
    "a channel too many": Case(
        ("[0, 2]", "2 channels", "[0, 1]"), {"input.channels": [0, 2]}
    ),
    "a channel twice": Case(("[1, 1]", "each once"), {"input.channels": [1, 1]}),
    "no channels": Case(("'input.channels' is []",), {"input.channels": []}),
    "a negative channel": Case(("'input.channels.0' is -1",), {"input.channels": [-1]}),
    "an output type unknown": Case(
        ("'output.dtype'", "'uint8'"), {"output.dtype": "i"}
    ),
    "negative chunks": Case(("'output.chunks.z' is -1",), {"output.chunks": {"z": -1}}),
    "a chunk of 0": Case(("'output.chunks.c' is 0",), {"output.chunks": {"c": 0}}),
    "shards no multiple of chunks": Case(
        ("output.shards.y is 40", "16 voxels", "nearest that is: 32"),
        {"output.chunks": {"y": 16}, "output.shards": {"y": 40}},
    ),
    "shards smaller than chunks": Case(
        ("output.shards.x is 8", "nearest that is: 16"),
        {"output.chunks": {"x": 16}, "output.shards": {"x": 8}},
    ),
    "shards of one channel": Case(
        ("output.shards.c is 1", "2 channels"), {"output.shards": {"c": 1}}
    ),
    "compression above 9": Case(
        ("'output.compression_level' is 10",), {"output.compression_level": 10}
    ),
    "gains of the wrong length": Case(
        ("noise.gains has 1 numbers", "2 channels"),
        {"noise.gains": [3.9], "noise.offsets": [-367]},
    ),
    "offsets of the wrong length": Case(
        ("noise.offsets has 3 numbers", "2 channels"), {"noise.offsets": [1, 2, 3]}
    ),
    "gains for channels not chosen": Case(
        ("noise.gains has 2 numbers", "1 channels"), {"input.channels": [1]}
    ),
    "only gains": Case(("both gains and offsets",), {"noise.offsets": None}),
    "only offsets": Case(("both gains and offsets",), {"noise.gains": None}),
    "a gain of 0": Case(("'noise.gains.1' is 0",), {"noise.gains": [1, 0]}),
    "a negative gain": Case(("'noise.gains.0' is -3.9",), {"noise.gains": [-3.9, 1]}),
    "a gain that is NaN": Case(("NaN", "JSON"), {"noise.gains": [float("nan"), 1]}),
    "an infinite offset": Case(("Infinity",), {"noise.offsets": [float("inf"), 1]}),
    "a noise of 0": Case(
        ("'noise.noise_std' is 0",), {"noise": {"kind": "gaussian", "noise_std": 0}}
    ),
    "a pvalue above 1": Case(("'denoise.pvalue' is 1.5",), {"denoise.pvalue": 1.5}),
    "a pvalue below 0": Case(("'denoise.pvalue' is -0.5",), {"denoise.pvalue": -0.5}),
    "no iterations": Case(("'denoise.max_iter' is 0",), {"denoise.max_iter": 0}),
    "too many iterations": Case(
        ("'denoise.max_iter' is 99",), {"denoise.max_iter": 99}
    ),
    "dimensions unknown": Case(("tzyx",), {"denoise.active_dimensions": "zyq"}),
    "a patch too large in y": Case(
        ("denoise.patch.y is 20", "40 voxels", "41", "19 or less"),
        {"denoise.patch": {"y": 20, "x": 1}},
    ),
    "a patch too large in x": Case(
        ("denoise.patch.x is 99", "48 voxels", "23 or less"),
        {"denoise.patch": {"y": 1, "x": 99}},
    ),
    "a patch too large in z": Case(
        ("denoise.patch.z is 2", "4 voxels", "1 or less"),
        {"denoise.patch": {"z": 2, "y": 1, "x": 1}},
    ),
    "a negative patch": Case(
        ("'denoise.patch.y' is -1",), {"denoise.patch": {"y": -1}}
    ),
    "a block no multiple of chunks": Case(
        ("t 1 z 4 y 20 x 48", "t 1 z 4 y 16 x 48", "nearest legal"),
        {"output.chunks": {"y": 16}, "output.shards": None, "blocks.shape": {"y": 20}},
    ),
    "a block no multiple of shards": Case(
        ("y 16 x 48", "nearest legal shape is t 1 z 4 y 32 x 48"),
        {
            "output.chunks": {"y": 8},
            "output.shards": {"y": 32, "x": 48},
            "blocks.shape": {"y": 16},
        },
    ),
    "a block of 0": Case(("'blocks.shape.y' is 0",), {"blocks.shape": {"y": 0}}),
    "a negative block": Case(("'blocks.shape.y' is -9",), {"blocks.shape": {"y": -9}}),
    "a negative context": Case(
        ("'blocks.context.y' is -1",), {"blocks.context": {"y": -1}}
    ),
    "too little memory": Case(
        ("0.22 GiB", "0.10 GiB", "blocks.memory_gib"), {"blocks.memory_gib": 0.1}
    ),
    "too little memory for that block": Case(
        ("0.22 GiB", "0.10 GiB", "blocks.memory_gib"),
        {"blocks.memory_gib": 0.1, "blocks.shape": {"y": 40}},
    ),
    "too little memory for so many": Case(
        ("workers.count",), {"workers.count": 1_000_000}
    ),
    "no workers": Case(("'workers.count' is -1",), {"workers.count": -1}),
    "half a worker": Case(("'workers.count' is 1.5",), {"workers.count": 1.5}),
    "unknown workers": Case(("'workers'",), {"workers.kind": "sge"}),
    "the output is the input": Case(
        ("in.czi", "at or in the input"), {"output.path": "in.czi"}
    ),
    "the output is in the input": Case(
        ("in.czi", "at or in the input"), {"output.path": "in.czi/out.zarr"}
    ),
    "the output is the root": Case(("'/'",), {"output.path": "/"}),
    "the output is the config's folder": Case(
        ("not made by this program",), {"output.path": "."}, code=4
    ),
    "the output's name is too long": Case(
        ("File name too long", "output.path"), {"output.path": "a" * 300}
    ),
    "the run directory's name is too long": Case(
        ("File name too long", "output.path"), {"output.path": "a" * 253}
    ),
    "the output is in a device": Case(
        ("/dev/null", "file; expected a folder"), {"output.path": "/dev/null/out.zarr"}
    ),
}

CONFIG_TEXTS = {
    "an empty config": Case(("no valid JSON",), text=lambda _: b""),
    "a config cut short": Case(("no valid JSON",), text=lambda t: t[:-1].encode()),
    "a trailing comma": Case(
        ("no valid JSON",), text=lambda t: t[:-1].encode() + b",}"
    ),
    "a config twice": Case(("no valid JSON",), text=lambda t: (t + t).encode()),
    "a duplicate key": Case(
        ("'output'", "twice"), text=lambda t: t[:-1].encode() + b', "output": {}}'
    ),
    "a list": Case(("is []", "expected an object"), text=lambda _: b"[]"),
    "a config not in UTF-8": Case(
        ("utf-8",), text=lambda t: t.replace("in.czi", "\xe4").encode("latin-1")
    ),
    "random bytes": Case(
        ("no valid JSON",), text=lambda _: np.random.default_rng(0).bytes(999)
    ),
    "deep nesting": Case(("recursion",), text=lambda _: b"[" * 100_000),
    "less deep nesting": Case(
        ("no valid JSON", "recursion"),
        text=lambda _: b'{"input":' + b"[" * 300 + b"]" * 300 + b"}",
    ),
    "half a character": Case(
        ("no valid JSON", "no valid JSON"),
        text=lambda t: t.replace('in.czi"', '\\ud800"').encode(),
    ),
    "a byte-order mark of UTF-16": Case(
        ("no valid JSON",), text=lambda t: t.encode("utf-16")
    ),
    "a number of 5000 digits": Case(
        ("no valid JSON", "digits"), text=lambda _: b'{"a": ' + b"9" * 5000 + b"}"
    ),
}

INPUTS = {
    "an empty file": Case(("0 bytes",), prepare=with_input(b"")),
    "a Git LFS pointer": Case(("git lfs pull",), prepare=with_input(LFS_POINTER)),
    "a TIFF": Case(("is no CZI",), prepare=with_input(b"II*\0" + bytes(500))),
    "random bytes": Case(
        ("is no CZI",), prepare=with_input(np.random.default_rng(0).bytes(9999))
    ),
    "random bytes behind the magic": Case(
        ("cut short or damaged",),
        prepare=with_input(
            b"ZISRAWFILE".ljust(16, b"\0") + np.random.default_rng(0).bytes(9999)
        ),
    ),
    "a folder": Case(
        ("directory", "folder.czi"),
        {"input.path": "folder.czi"},
        prepare=lambda folder: (folder / "folder.czi").mkdir(),
    ),
    "the folder that the output goes to": Case(
        ("at or in the input",), {"input.path": "."}
    ),
    "a colour image": Case(
        ("colour image", "Bgr24"),
        prepare=with_tiles(("T0 C0 Z0", np.ones((40, 48, 3), np.uint8))),
    ),
    "mixed types": Case(
        ("mixes the pixel types", "Gray16, Gray8"),
        prepare=with_tiles(("T0 C0 Z0", GREY8), ("T0 C1 Z0", GREY16)),
    ),
    "phases": Case(
        ("2 positions along dimension H",),
        prepare=with_tiles(("T0 C0 Z0 H0", GREY16), ("T0 C0 Z0 H1", GREY16)),
    ),
    "no image data": Case(("without any image data",), prepare=with_tiles()),
    "two scenes and null": Case(
        ("input.scene is null", "0 (T 1", "1 (T 1"),
        prepare=with_tiles(("S0 T0 C0 Z0", GREY16), ("S1 T0 C0 Z0", GREY16)),
    ),
    "a scene too many": Case(
        ("input.scene is 2", "0 (T 1", "1 (T 1"),
        {"input.scene": 2},
        prepare=with_tiles(("S0 T0 C0 Z0", GREY16), ("S1 T0 C0 Z0", GREY16)),
    ),
    "one pixel": Case(
        ("denoise.patch.y is 1", "1 voxels", "Set it to 0"),
        prepare=with_image(np.ones((1, 2, 1, 1, 1), np.uint16)),
    ),
    "a broken link": Case(
        ("link.czi", "No such file"),
        {"input.path": "link.czi"},
        prepare=lambda folder: (folder / "link.czi").symlink_to("nowhere"),
    ),
    "a link to itself": Case(
        ("link.czi",),
        {"input.path": "link.czi"},
        prepare=lambda folder: (folder / "link.czi").symlink_to("link.czi"),
    ),
    "nothing but NaN, to calibrate": Case(
        ("noise",),
        {"noise": {"kind": "poisson-gaussian"}},
        prepare=with_flat_image,
    ),
}


OUTPUTS = {
    "a file": Case(
        ("out.zarr", "is a file; expected a folder"),
        prepare=lambda folder: (folder / "out.zarr").write_text("mine"),
    ),
    "below a file": Case(
        ("is a file; expected a folder",),
        {"output.path": "file/deep/out.zarr"},
        prepare=lambda folder: (folder / "file").write_text("mine"),
    ),
    "a file where the run directory goes": Case(
        ("out.zarr.run", "is a file; expected a folder"),
        prepare=lambda folder: (folder / "out.zarr.run").write_text("mine"),
    ),
    "somebody else's folder": Case(
        ("not made by this program",), prepare=no_run, code=4
    ),
    "the folder of the image": Case(
        ("not made by this program",),
        {"output.path": "sub/.."},
        prepare=lambda folder: (folder / "sub").mkdir(),
        code=4,
    ),
    "somebody else's Zarr": Case(
        ("not made by this program",),
        prepare=with_zarr_json('{"zarr_format": 3, "node_type": "group"}'),
        code=4,
    ),
    "a zarr.json that is a list": Case(
        ("not made by this program",), prepare=with_zarr_json("[]"), code=4
    ),
    "a zarr.json that is a string": Case(
        ("not made by this program",), prepare=with_zarr_json('"a"'), code=4
    ),
    "a zarr.json of odd attributes": Case(
        ("not made by this program",),
        prepare=with_zarr_json(
            '{"zarr_format": 3, "node_type": "group", "attributes": []}'
        ),
        code=4,
    ),
    "a zarr.json that is no JSON": Case(
        ("not made by this program",), prepare=with_zarr_json("{"), code=4
    ),
    "an output of ours without its run": Case(
        ("whose run directory", "--overwrite"),
        prepare=with_zarr_json(
            '{"zarr_format": 3, "node_type": "group",'
            ' "attributes": {"denoise_daisy": {}}}'
        ),
        code=4,
    ),
    "a run.json that is no JSON": Case(
        ("run.json", "can't be read"), prepare=with_run_json("{"), code=4
    ),
    "a run.json of another program": Case(
        ("run.json", "no run.json of this program"),
        prepare=with_run_json('{"id": 1}'),
        code=4,
    ),
    "a run.json that is a list": Case(
        ("run.json", "no run.json of this program"),
        prepare=with_run_json("[]"),
        code=4,
    ),
    "a run.json with keys like ours": Case(
        ("run.json",),
        prepare=with_run_json('{"id": "a", "fingerprint": {}, "config": {}}'),
        code=4,
    ),
    "a run.json nested deeply": Case(
        ("run.json",), prepare=with_run_json("[" * 100_000), code=4
    ),
    "a run.json that is a folder": Case(
        ("run.json", "can't be read"),
        prepare=lambda folder: (folder / "out.zarr.run" / "run.json").mkdir(
            parents=True
        ),
        code=4,
    ),
    "a broken link": Case(
        ("out.zarr", "broken link"),
        prepare=lambda folder: (folder / "out.zarr").symlink_to("nowhere"),
    ),
    "a broken link for the run directory": Case(
        ("out.zarr.run", "broken link"),
        prepare=lambda folder: (folder / "out.zarr.run").symlink_to("nowhere"),
    ),
    "below a broken link": Case(
        ("link", "broken link"),
        {"output.path": "link/out.zarr"},
        prepare=lambda folder: (folder / "link").symlink_to("nowhere"),
    ),
    "a link to itself": Case(
        ("out.zarr",),
        prepare=lambda folder: (folder / "out.zarr").symlink_to("out.zarr"),
    ),
    "a link to the input": Case(
        ("at or in the input",),
        prepare=lambda folder: (folder / "out.zarr").symlink_to("in.czi"),
    ),
}

CASES = {
    f"{kind}: {name}": case
    for kind, cases in [
        ("config", CONFIGS),
        ("text", CONFIG_TEXTS),
        ("input", INPUTS),
        ("output", OUTPUTS),
    ]
    for name, case in cases.items()
}


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


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 70


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_the_config_without_a_mistake_is_not_refused(
    verb: str, tmp_path: Path, image_file: Path
) -> None:
    """Else every refusal here would be for a reason that all cases share."""
    config = set_up(tmp_path, image_file, Case(()))
    assert main([verb, str(config)]) == 0
    assert (tmp_path / "out.zarr").exists() == (verb == "run")


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_and_nothing_is_written(
    name: str, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    config = set_up(tmp_path, image_file, case)
    before = listing(tmp_path)
    code = main([str(config)])
    stderr = capsys.readouterr().err
    assert code == case.code, stderr
    assert_one_paragraph(stderr, case.words)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", [name for i, name in enumerate(CASES) if i % 4 == 0])
def test_a_plan_refuses_what_a_run_refuses(
    name: str, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    config = set_up(tmp_path, image_file, case)
    before = listing(tmp_path)
    assert main(["plan", str(config)]) == case.code
    assert_one_paragraph(capsys.readouterr().err, case.words)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    [
        "config: a patch too large in y",
        "text: a duplicate key",
        "input: a Git LFS pointer",
        "output: somebody else's folder",
    ],
)
def test_the_same_holds_for_a_process_of_its_own(
    name: str, tmp_path: Path, image_file: Path
) -> None:
    case = CASES[name]
    config = set_up(tmp_path, image_file, case)
    before = listing(tmp_path)
    done = cli(config)
    assert done.returncode == case.code
    assert_one_paragraph(done.stderr, case.words)
    assert done.stdout == ""
    assert listing(tmp_path) == before


HUGE = {
    "output.shards": {"y": 40 * 10**30},
    "output.chunks": {"y": 10**3000},
    "blocks.shape": {"y": 10**3000},
    "blocks.context": {"y": 10**3000},
    "blocks.memory_gib": 1e308,
    "workers.count": 10**30,
    "workers.threads_per_worker": 10**3000,
    "denoise.patch": {"t": 10**30},
}


@pytest.mark.parametrize("place", HUGE)
def test_a_huge_number_is_planned_with_or_refused(
    place: str, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it can work is for the plan to say; to break over it is not."""
    values = {"blocks.memory_gib": 4, place: HUGE[place]}
    config = set_up(tmp_path, image_file, Case((), values))
    code = main(["plan", str(config)])
    captured = capsys.readouterr()
    assert code in (0, 2), captured.err
    if code:
        assert_one_paragraph(captured.err, ())
    else:
        assert "1 local" in captured.out


@pytest.mark.parametrize("i", range(30))
def test_a_czi_cut_anywhere_is_refused(
    i: int, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = image_file.read_bytes()
    cut = Case((), prepare=with_input(data[: len(data) * (2 * i + 1) // 60]))
    config = set_up(tmp_path, image_file, cut)
    before = listing(tmp_path)
    assert main([str(config)]) == 2
    assert_one_paragraph(capsys.readouterr().err, ("in.czi", "cut short or damaged"))
    assert listing(tmp_path) == before


def damage_a_sub_block(folder: Path) -> None:
    """The directory is whole, and the image's first sub-blocks are not."""
    path = folder / "in.czi"
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(6):
        at = data.index(b"ZISRAWSUBBLOCK", at + 1)
        data[at : at + 14] = b"overwritten!!!"
    path.write_bytes(data)


@pytest.mark.parametrize("noise", [NOISE, {"kind": "poisson-gaussian"}], ids=str)
def test_an_image_whose_planes_are_damaged_is_no_bug_of_ours(
    noise: dict, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused, where it is found before the first block; a failed block after that."""
    case = Case((), {"noise": noise}, prepare=damage_a_sub_block)
    config = set_up(tmp_path, image_file, case)
    code = main([str(config)])
    said = capsys.readouterr().err
    assert code in (2, 3), said
    assert "internal error" not in said


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("absent.json", ("absent.json", "No such file", "Expected a JSON file")),
        (".", ("directory", "Expected a JSON file")),
        ("a\0b", ("Expected a JSON file",)),
        ("a" * 300, ("File name too long", "Expected a JSON file")),
        ("in.czi", ("in.czi", "no valid JSON")),
        ("in.czi/config.json", ("Not a directory",)),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_config_that_is_none_is_refused(
    verb: str,
    path: str,
    words: tuple[str, ...],
    tmp_path: Path,
    image_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(image_file, tmp_path / "in.czi")
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    assert main([verb, path]) == 2
    assert_one_paragraph(capsys.readouterr().err, words)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("path", ["absent", ".", "/", "in.czi.run", "a\0b", ""])
@pytest.mark.parametrize("verb", ["status", "verify"])
def test_a_path_that_is_no_run_is_refused(
    verb: str,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    assert main([verb, path]) == 2
    assert_one_paragraph(capsys.readouterr().err, ("no run directory",))
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["plan"],
        ["run", "a", "b"],
        ["run", "a", "--fast"],
        ["run", "a", "--grace", "soon"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: denoise-daisy" in capsys.readouterr().err


def test_a_pipe_for_an_image_is_refused_and_not_waited_for(
    tmp_path: Path, image_file: Path
) -> None:
    config = set_up(tmp_path, image_file, Case((), {"input.path": "pipe"}))
    os.mkfifo(tmp_path / "pipe")
    try:
        done = cli(config, timeout=20)
    except subprocess.TimeoutExpired:
        pytest.fail("It waits for somebody to write into the pipe.")
    assert done.returncode == 2
    assert_one_paragraph(done.stderr, ("pipe",))


# Other runs


def finished_run(folder: Path, image_file: Path) -> Path:
    config = set_up(folder, image_file, Case(()))
    assert main([str(config)]) == 0
    return config


def test_other_settings_are_refused_and_each_is_named(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished_run(tmp_path, image_file)
    capsys.readouterr()
    config = json.loads(path.read_text())
    changes = {
        "denoise.max_iter": (2, 3),
        "denoise.pvalue": (0.1, 0.2),
        "noise.gains": ([3.9, 3.9], [3.9, 4.0]),
        "output.dtype": ("uint16", "float32"),
        "output.compression_level": (1, 2),
    }
    for place, (_, value) in changes.items():
        put(config, place, value)
    write_config(path, config)
    before = listing(tmp_path)
    assert main([str(path)]) == 4
    words = [f"{k} was {old!r}, is {new!r}" for k, (old, new) in changes.items()]
    assert_one_paragraph(capsys.readouterr().err, (*words, "--overwrite"))
    assert listing(tmp_path) == before


def test_another_image_is_refused(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished_run(tmp_path, image_file)
    capsys.readouterr()
    (tmp_path / "in.czi").unlink()
    small_czi(tmp_path / "in.czi", SHAPE, seed=1)
    before = listing(tmp_path)
    assert main([str(path)]) == 4
    said = capsys.readouterr().err
    assert_one_paragraph(said, ("input guid was", "input mtime_ns was"))
    assert listing(tmp_path) == before


def test_overwrite_spares_what_is_not_ours(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody put another folder where our output was; our ledger is beside it."""
    path = finished_run(tmp_path, image_file)
    capsys.readouterr()
    shutil.rmtree(tmp_path / "out.zarr")
    no_run(tmp_path)
    before = listing(tmp_path)
    assert main(["run", "--overwrite", str(path)]) == 4
    assert_one_paragraph(capsys.readouterr().err, ("out.zarr",))
    assert listing(tmp_path) == before


# Disks


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory, where this user may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refused_there(
    folder: Path, tmp_path: Path, image_file: Path, stderr: Callable[[], str]
) -> str:
    case = Case((), {"output.path": str(folder / "out.zarr")})
    config = set_up(tmp_path, image_file, case)
    before = listing(tmp_path)
    code = main([str(config)])
    said = stderr()
    assert code == 2, said
    assert listing(tmp_path) == before
    return said


def test_a_disk_without_room_is_refused(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        (disk / "full").write_bytes(bytes(64 << 10))
        said = refused_there(
            disk, tmp_path, image_file, lambda: capsys.readouterr().err
        )
    assert_one_paragraph(said, ("The output needs", "are free"))


def test_a_disk_without_files_left_is_refused(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "size=64m,nr_inodes=8") as disk:
        with contextlib.suppress(OSError):
            for i in range(10):
                (disk / str(i)).touch()
        said = refused_there(
            disk, tmp_path, image_file, lambda: capsys.readouterr().err
        )
    assert_one_paragraph(said, ("0 files are free",))


def test_a_disk_that_is_read_only_is_refused(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "size=64m,ro") as disk:
        said = refused_there(
            disk, tmp_path, image_file, lambda: capsys.readouterr().err
        )
    assert_one_paragraph(said, ("can't be written",))


# Odd names that are fine

ODD_NAMES = [
    "with spaces",
    "quotes ' and \"",
    "a\nnewline",
    "Größe µm 細胞 🔬",
    "-leading-dash",
    "--overwrite",
    "%s {0} $HOME `x` #?&=:*[a]",
    "C:\\windows\\path",
    ".hidden",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_an_odd_name_is_planned(
    name: str, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    config = set_up(folder, image_file, Case(()))
    before = listing(tmp_path)
    assert main(["plan", str(config)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert str(folder / "out.zarr") in captured.out
    assert listing(tmp_path) == before


def test_the_oddest_names_are_run(tmp_path: Path, image_file: Path) -> None:
    """In the C locale, by relative paths, all of which begin with a dash."""
    odd = '- "it\'s"\n細胞 µ🔬 %s {0} $HOME *'
    folder = tmp_path / f"{odd}.folder"
    folder.mkdir()
    shutil.copy(image_file, folder / f"{odd}.czi")
    values = config_for(Path(f"{odd}.czi"), Path(f"{odd}.zarr"), noise_channels=2)
    values["output"]["dtype"] = "float32"
    values["blocks"] = {"shape": {"y": 20}}
    values["output"]["chunks"] = {"y": 20}
    write_config(folder / f"{odd}.json", values)
    environment = {"LC_ALL": "C", "LANG": "C"}
    for words in (["run", "--"], ["verify", "--"], ["status", "--"]):
        done = cli(*words, f"{odd}.json", env=environment, cwd=folder)
        assert done.returncode == 0, done.stderr
    image = open_czi(str(folder / f"{odd}.czi"))[(slice(None),) * 5]
    np.testing.assert_array_equal(
        output_of(folder / f"{odd}.zarr"), whole_image(image, values)
    )
