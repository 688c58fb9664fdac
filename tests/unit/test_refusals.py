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
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy.__main__ import main
from denoise_daisy.images.czi import open_czi
from denoise_daisy.images.czi_directory import read_directory
from harness import cli, config_for, output_of, small_czi, whole_image, write_config
from harness.mistakes import CASES
from harness.plain_directory import rows
from harness.refused import (
    NOISE,
    SHAPE,
    Case,
    assert_one_paragraph,
    listing,
    no_run,
    put,
    set_up,
    with_input,
)


@pytest.fixture(scope="module")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_czi(tmp_path_factory.mktemp("image") / "in.czi", SHAPE)


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets this for its whole process, which is the tests' here."""
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)


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


@pytest.mark.parametrize("name", CASES)
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
    "output.shards": ({"y": 40 * 10**30}, 0),
    "output.chunks": ({"y": 10**3000}, 0),
    "blocks.shape": ({"y": 10**3000}, 0),
    "blocks.context": ({"y": 10**3000}, 0),
    "blocks.memory_gib": (1e308, 2),
    "workers.count": (10**30, 2),
    "workers.threads_per_worker": (10**3000, 0),
    "denoise.patch": ({"t": 10**30}, 2),
}
"""Numbers, and the exit code: what is cut down to the image can be as large as it
likes, what has a limit can not."""


@pytest.mark.parametrize("place", HUGE)
def test_a_huge_number_is_planned_with_or_refused(
    place: str, tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To break over it is neither."""
    value, code = HUGE[place]
    values = {"blocks.memory_gib": 4, place: value}
    config = set_up(tmp_path, image_file, Case((), values))
    assert main(["plan", str(config)]) == code
    captured = capsys.readouterr()
    if code:
        assert_one_paragraph(captured.err, (f"'{place}",))
    else:
        assert captured.err == ""
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


def damage_planes(*planes: int) -> Callable[[Path], object]:
    """The directory is whole, and the sub-blocks of these planes along z are not."""

    def prepare(folder: Path) -> None:
        path = folder / "in.czi"
        data = bytearray(path.read_bytes())
        blocks = rows(read_directory(str(path)).sub_blocks)
        damaged = [block for block in blocks if block.start["Z"] in planes]
        assert len(damaged) == 2 * len(planes)
        for block in damaged:
            at = block.position
            assert data[at : at + 14] == b"ZISRAWSUBBLOCK"
            data[at : at + 14] = b"overwritten!!!"
        path.write_bytes(data)

    return prepare


TO_CALIBRATE = {"kind": "poisson-gaussian"}


@pytest.mark.parametrize(
    ("planes", "noise", "code"),
    [
        # Of four planes, that of number 2 is looked at for its contrast.
        ((2,), NOISE, 2),
        ((0, 1, 2), NOISE, 2),
        ((2,), TO_CALIBRATE, 2),
        # Samples are as deep as this image.
        ((0,), TO_CALIBRATE, 2),
        # Only the blocks look at it.
        ((0,), NOISE, 3),
    ],
)
def test_an_image_whose_planes_are_damaged_is_no_bug_of_ours(
    planes: tuple[int, ...],
    noise: dict[str, Any],
    code: int,
    tmp_path: Path,
    image_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Refused, where it is found before the first block; a failed block after that."""
    values = {"noise": noise, "workers.max_retries": 0}
    config = set_up(tmp_path, image_file, Case((), values, damage_planes(*planes)))
    assert main([str(config)]) == code
    said = capsys.readouterr().err
    assert "internal error" not in said
    assert f"Z {planes[0] if code == 3 else max(planes)}" in said
    assert "in.czi" in said
    assert (tmp_path / "out.zarr").exists() == (code == 3)


def test_a_run_of_an_image_is_refused_with_what_makes_a_config(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copy(image_file, tmp_path / "in.czi")
    before = listing(tmp_path)
    assert main([str(path)]) == 2
    words = ("in.czi", "is an image", "denoise-daisy init")
    assert_one_paragraph(capsys.readouterr().err, words)
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("absent.json", ("absent.json", "No such file", "Expected a file in JSON")),
        (".", ("directory", "Expected a file in JSON")),
        ("a\0b", ("Expected a file in JSON",)),
        ("a" * 300, ("File name too long", "Expected a file in JSON")),
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
        done = cli(config)
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
