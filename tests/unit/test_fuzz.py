"""Whatever a config or a CZI holds, a plan ends, with success or a refusal.

Promised: never an internal error, a crash of the process, a wait without end, or memory
by the gigabyte, for any mutation of a valid config or of the bytes by which a CZI
describes itself.  Plans are made by the real command line in a process of its own, with
a limit to its memory and to each plan's time.  If all mutations were refused at the
first look the tests would say nothing, so each also counts what got through.
"""

import json
import select
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from denoise_daisy.images import czi_segments
from harness import config_for, small_czi

SECONDS = 60.0
"""What a plan may take; it takes 0.02."""

PLANNER = """
import contextlib, io, json, os, resource, sys
from denoise_daisy.__main__ import main
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for line in sys.stdin:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(["plan", json.loads(line)])
        except BaseException as error:
            code = repr(error)
    print(json.dumps([code, errors.getvalue()]), file=answers, flush=True)
"""


class Planner:
    """A process that makes plans, and is replaced where one kills it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def plan(self, config: Path) -> tuple[int, str]:
        """Exit code and stderr of `plan`."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(str(config)) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            why = f"ended by {process.returncode}" if ready else f"took {SECONDS:g} s"
            pytest.fail(
                f"The plan of this config {why}: {config.read_bytes()[:2000]!r}"
            )
        code, stderr = json.loads(line)
        return code, stderr

    def _start(self) -> "subprocess.Popen[str]":
        self._process = subprocess.Popen(
            [sys.executable, "-c", PLANNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    planner = Planner()
    yield planner
    planner.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    small_czi(folder / "in.czi", (2, 2, 3, 30, 32))
    return folder


BRIEF = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    # Shrinking would wait for the time limit again and again.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def assert_planned_or_refused(code: int, stderr: str) -> None:
    """Which of the two is not known of what is damaged at random.

    To say whether it is still a config, or a CZI, would take a second program; a
    mutated path may even be that of somebody's folder.
    """
    if code == 4:
        assert "was not made by this program" in stderr
    else:
        assert code in (0, 2), stderr
    assert "Traceback" not in stderr
    if code:
        assert stderr.startswith("denoise_daisy: ")
        assert len(stderr.splitlines()) == 1


# Configs

FULL = config_for(Path("in.czi"), Path("out.zarr"), noise_channels=2) | {
    "input": {
        "path": "in.czi",
        "scene": None,
        "roi": {"z": [0, 2]},
        "channels": [0, 1],
    },
    "output": {
        "path": "out.zarr",
        "dtype": "input",
        "chunks": {"y": 16, "x": 16},
        "shards": {"y": 32},
        "compression_level": 1,
    },
    "blocks": {"shape": {"y": 32}, "context": "exact", "memory_gib": 4},
}

NUMBERS = st.one_of(
    st.integers(-2, 100),
    st.sampled_from([2**31, 2**63, 2**64, 10**30, 10**400, -(2**63)]),
    st.floats(),
    st.sampled_from([1e308, 5e-324, -0.0, 0.5]),
)
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["auto", "exact", "input", "zyx", "tzyx", "~", "~x", "/", "..", ""]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(WORDS, st.sampled_from("tczyx")), inner, max_size=3),
    ),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All paths into a JSON value, down to its leaves."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield (*at, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*at, key))


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A valid config with one to three mutations."""
    config = deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        *sections, key = draw(st.sampled_from(sorted(places(config), key=repr)))
        target: Any = config
        for name in sections:
            target = target[name]
        how = draw(st.sampled_from(["replace", "number", "remove", "rename", "add"]))
        if how == "replace" or (how in ("rename", "add") and isinstance(target, list)):
            target[key] = draw(VALUES)
        elif how == "number":
            target[key] = draw(NUMBERS)
        elif how == "remove":
            del target[key]
        elif how == "rename":
            target[draw(WORDS)] = target.pop(key)
        else:
            target[draw(st.one_of(WORDS, st.sampled_from("tczyx")))] = draw(VALUES)
    return config


def test_every_mutated_config_is_planned_or_refused(
    folder: Path, planner: Planner
) -> None:
    """And some are the one, and some the other."""
    codes: Counter[int] = Counter()

    @settings(BRIEF, max_examples=300)
    @given(configs())
    def hold(config: dict[str, Any]) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        code, stderr = planner.plan(path)
        assert_planned_or_refused(code, stderr)
        codes[code] += 1

    hold()
    assert codes[0] >= 10
    assert codes[2] >= 10


@BRIEF
@given(st.binary(max_size=80), st.integers(0, 2000), st.integers(0, 40))
def test_every_config_of_damaged_bytes_is_planned_or_refused(
    folder: Path, planner: Planner, more: bytes, at: int, fewer: int
) -> None:
    data = json.dumps(FULL).encode()
    at %= len(data)
    path = folder / "config.json"
    path.write_bytes(data[:at] + more + data[at + fewer :])
    code, stderr = planner.plan(path)
    assert_planned_or_refused(code, stderr)
    try:
        json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError:
        assert code == 2


# CZI files

INTERESTING = [0, 1, -1, 2, 5, 100, 2**15, 2**20, 2**31 - 1, -(2**31)]


def described(data: bytes) -> list[int]:
    """Where the bytes lie by which a CZI describes itself, every second byte."""
    header = czi_segments.HEADER.unpack_from(data, 32)
    directory_at, metadata_at = header[7], header[8]
    used = struct.unpack_from("<q", data, directory_at + 24)[0]
    ranges = [
        range(32 + czi_segments.HEADER.size),
        range(directory_at, directory_at + 32 + 8),
        *[range(directory_at + 160, directory_at + 32 + used)] * 3,
        range(metadata_at, metadata_at + 32 + 16),
        range(metadata_at + 288, metadata_at + 900),
    ]
    at = data.find(b"ZISRAWSUBBLOCK")
    ranges.append(range(at, at + 200))
    return [byte for part in ranges for byte in part if byte % 2 == 0]


MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["byte", "int", "long", "shift"]),
        st.one_of(st.sampled_from(INTERESTING), st.integers(-(2**31), 2**31 - 1)),
    ),
    min_size=1,
    max_size=3,
)


def mutated(data: bytearray, mutations: list[tuple[float, str, int]]) -> bytearray:
    spots = described(bytes(data))
    for where, how, value in mutations:
        at = spots[int(where * len(spots))]
        if how == "byte":
            data[at] = value & 255
        elif how == "int":
            struct.pack_into("<i", data, at, value)
        elif how == "long":
            struct.pack_into("<q", data, at, value * 3)
        else:
            del data[at : at + abs(value) % 64]
    return data


def test_every_mutated_czi_is_planned_or_refused(
    folder: Path, planner: Planner
) -> None:
    """And some are the one, and some the other."""
    codes: Counter[int] = Counter()
    good = (folder / "in.czi").read_bytes()
    config = config_for(Path("mutated.czi"), Path("out.zarr"), noise_channels=2)
    path = folder / "czi.json"
    path.write_text(json.dumps(config))

    @BRIEF
    @given(MUTATIONS)
    def hold(mutations: list[tuple[float, str, int]]) -> None:
        data = mutated(bytearray(good), mutations)
        (folder / "mutated.czi").write_bytes(data)
        code, stderr = planner.plan(path)
        assert_planned_or_refused(code, stderr)
        codes[code] += 1

    hold()
    assert codes[0] >= 10
    assert codes[2] >= 10


@pytest.mark.parametrize("value", [2**31 - 1, 2**20, -(2**31)])
@pytest.mark.parametrize("dimension", "TCZYX")
def test_a_position_far_off_is_refused(
    dimension: str, value: int, folder: Path, planner: Planner
) -> None:
    """One damaged number must not become an image of 2 ** 31 planes to plan for."""
    data = bytearray((folder / "in.czi").read_bytes())
    directory_at = czi_segments.HEADER.unpack_from(data, 32)[7]
    at = data.index(dimension.encode() + b"\0\0\0", directory_at + 160)
    struct.pack_into("<i", data, at + 4, value)
    (folder / "far.czi").write_bytes(data)
    config = config_for(Path("far.czi"), Path("out.zarr"), noise_channels=2)
    config["noise"] = {"kind": "gaussian", "noise_std": 30}
    path = folder / "far.json"
    path.write_text(json.dumps(config))
    code, stderr = planner.plan(path)
    assert_planned_or_refused(code, stderr)
    assert code == 2
    assert "far.czi' is damaged: it spans" in stderr
