"""Nothing that becomes of the standard streams changes what a command does.

Each verb runs for real with each stream closed, full, without a reader, or with one
that does not read.
"""

import fcntl
import json
import os
import pty
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from denoise_daisy.run_dir.lock import LockHolder
from denoise_daisy.run_dir.run_dir import RunDir, find
from denoise_daisy.waits import VARIABLE
from harness import (
    cli,
    config_for,
    environment,
    small_czi,
    wait_until,
    write_config,
)
from harness.looking import status
from harness.shared import once
from harness.waiting import PATIENCE

PRINTING = ("plan", "status", "schema")

VERBS = ("run", "verify", *PRINTING)

DONE = "1 blocks done, 0 skipped (done before), 0 failed"

LAST_WORDS = {VARIABLE: json.dumps({"last_words": 0.5})}


def make_config(folder: Path) -> Path:
    """A run of one block."""
    folder.mkdir(exist_ok=True)
    source = small_czi(folder / "in.czi", (1, 1, 1, 16, 16))
    values = config_for(source, folder / "out.zarr", workers={"count": 1})
    del values["noise"]
    filtered = {"kind": "median", "size": {"y": 3}}
    return write_config(folder / "config.json", values | {"denoise": filtered})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_config(tmp_path)


@pytest.fixture
def words(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[str]]:
    """The command of a verb, and what it is for: a run not begun, or a finished one."""

    def make(folder: Path) -> Path:
        path = make_config(folder / "run")
        assert cli(path).returncode == 0
        return path

    def of(verb: str) -> list[str]:
        command = [sys.executable, "-m", "denoise_daisy", verb]
        if verb in ("run", "plan"):
            return [*command, str(make_config(tmp_path))]
        if verb == "verify":  # of which there is one at a time
            finished = make(tmp_path)
        else:
            finished = once(tmp_path_factory, "finished-block", make)
        return command + ([] if verb == "schema" else [str(finished)])

    return of


def is_done(folder: Path) -> bool:
    return "\ndenoise: 1 done" in status(find(folder / "out.zarr"))


@contextmanager
def pipe(*, full: bool) -> Iterator[tuple[int, int]]:
    """A pipe, maybe without a place for one more byte."""
    reader, writer = os.pipe()
    try:
        if full:
            os.set_blocking(writer, False)
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
            assert os.write(writer, b"x" * 5000) == 4096
            os.set_blocking(writer, True)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("redirection", ["<&- >&-", "2>&-", "2>/dev/full"])
def test_a_stream_that_is_closed_or_full_changes_nothing(
    verb: str, redirection: str, words: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """As some daemons start their children."""
    command = f"{shlex.join(words(verb))} {redirection}"
    end = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=environment(), check=False
    )
    assert end.returncode == 0, end
    assert bool(end.stdout) == (" >&-" not in redirection)
    assert b"Traceback" not in end.stderr
    if verb == "run":
        assert is_done(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_under_standard_output_is_not_that_of_the_output(
    verb: str, words: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """Where printing is all that is to be done it is an error, and its own."""
    with Path("/dev/full").open("w") as full:
        end = subprocess.run(
            words(verb),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            check=False,
        )
    if verb in PRINTING:
        (line,) = end.stderr.splitlines()
        assert line.startswith("denoise_daisy: Standard output can't be written (No ")
        assert end.returncode == 5
    else:
        assert "denoise_daisy:" not in end.stderr
        assert end.returncode == 0
    assert verb != "run" or is_done(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_is_gone_ends_only_what_prints(
    verb: str, words: Callable[[str], list[str]], tmp_path: Path
) -> None:
    with pipe(full=False) as (_, writer):
        process = subprocess.Popen(
            words(verb), stdout=writer, stderr=writer, env=environment()
        )
    assert process.wait(PATIENCE) == (1 if verb in PRINTING else 0)
    assert verb != "run" or is_done(tmp_path)


@pytest.mark.parametrize("verb", PRINTING)
def test_an_error_stream_that_nobody_reads_holds_nothing(
    verb: str, words: Callable[[str], list[str]]
) -> None:
    with pipe(full=True) as (_, writer):
        end = subprocess.run(
            words(verb),
            stdout=subprocess.PIPE,
            stderr=writer,
            env=environment(LAST_WORDS),
            timeout=PATIENCE,
            check=False,
        )
    assert end.returncode == 0
    assert end.stdout


@pytest.mark.parametrize("verb", ["run", "verify"])
def test_a_run_does_not_wait_for_who_does_not_read(
    verb: str, words: Callable[[str], list[str]], tmp_path: Path
) -> None:
    with pipe(full=True) as (_, writer):
        end = subprocess.run(
            words(verb),
            stdout=writer,
            stderr=writer,
            env=environment(LAST_WORDS),
            timeout=PATIENCE,
            check=False,
        )
    assert end.returncode == 0
    assert verb != "run" or is_done(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_reads_late_gets_it_all(
    verb: str, words: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """A run's summary waits for a while, what only prints as long as it takes."""
    waits = {VARIABLE: json.dumps({"last_words": 2 * PATIENCE})}
    with pipe(full=True) as (reader, writer):
        process = subprocess.Popen(
            words(verb), stdout=writer, stderr=writer, env=environment(waits)
        )
        os.set_blocking(writer, False)
        if verb == "run":
            run_dir = RunDir(tmp_path / "out.zarr.run")

            def is_over() -> bool:
                holder = LockHolder.read(run_dir)
                return holder is not None and not holder.running

            wait_until(is_over, "the run is over")
        assert process.poll() is None
        said = bytearray()

        def read() -> None:
            while process.poll() is None or said[-1:] != b"\n":
                said.extend(os.read(reader, 512))
                time.sleep(0.001)

        thread = threading.Thread(target=read)
        thread.start()
        assert process.wait(PATIENCE) == 0
        os.set_blocking(writer, True)
        os.write(writer, b"\n")
        thread.join(PATIENCE)
    expected = {"run": DONE, "verify": "All 1 blocks", "schema": '"$defs"'}
    assert expected.get(verb, "out.zarr") in said.decode()


def test_a_terminal_that_is_gone_does_not_end_a_run(
    config: Path, tmp_path: Path
) -> None:
    """It can still be written to, and each time that is an error of the device."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "denoise_daisy", str(config)],
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
    )
    os.close(theirs)
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    assert is_done(tmp_path)


def test_what_nobody_reads_is_kept_only_so_far(tmp_path: Path) -> None:
    """The newest of it: a run of weeks does not fill the memory with its progress."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from denoise_daisy.streams import KEPT, patient\n"
        "with patient('stdout'):\n"
        "    for i in range(KEPT + 7):\n"
        "        print(i)\n"
        "    Path(__file__).with_name('said').touch()\n"
    )
    waits = {VARIABLE: json.dumps({"last_words": PATIENCE})}
    with pipe(full=True) as (reader, writer):
        process = subprocess.Popen(
            [sys.executable, str(script)], stdout=writer, env=environment(waits)
        )
        wait_until((tmp_path / "said").exists, "all is said")
        said = b""
        while not said.endswith(b"\n1006\n"):
            said += os.read(reader, 65536)
        assert process.wait(PATIENCE) == 0
    assert said.lstrip(b"x").split() == [b"%d" % i for i in range(7, 1000 + 7)]


@pytest.mark.parametrize(
    "saying",
    [
        "with streams.patient('stdout'):\n    say(print)",
        "say(streams.print_whole)",
    ],
)
def test_two_that_share_a_pipe_which_does_not_block_lose_no_word(saying: str) -> None:
    """Each finds it full again where it has just seen that there is place."""
    script = (
        "import sys\n"
        "from denoise_daisy import streams\n"
        "def say(how):\n"
        "    for i in range(200):\n"
        "        how(f'{sys.argv[1]} {i} '.ljust(3000, '.'))\n"
    )
    waits = {VARIABLE: json.dumps({"last_words": PATIENCE})}
    with pipe(full=True) as (reader, writer):
        os.set_blocking(writer, False)
        command = [sys.executable, "-c", script + saying]
        two = [
            subprocess.Popen([*command, name], stdout=writer, env=environment(waits))
            for name in "ab"
        ]
        said = b""
        while said.count(b"\n") < 400 and len(said) < 400 * 3001 + 4096:
            said += os.read(reader, 65536)
        assert [process.wait(PATIENCE) for process in two] == [0, 0]
    lines = said.lstrip(b"x").decode().splitlines()
    words = sorted(line.rstrip(".") for line in lines)
    assert words == sorted(f"{name} {i} " for name in "ab" for i in range(200))


def test_names_beyond_ascii_need_no_locale_that_has_them(tmp_path: Path) -> None:
    """A batch system's job, or a daemon's child, often has none."""
    folder = tmp_path / "Gewächs µ"
    path = make_config(folder)
    values = json.loads(path.read_text())
    for section, name in (("input", "ä.czi"), ("output", "ö.zarr")):
        old = Path(values[section]["path"])
        values[section]["path"] = str(folder / name)
        if old.exists():
            old.rename(folder / name)
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for verb in ("plan", "run", "status", "verify"):
        end = cli(verb, path, env=ascii_only)
        assert end.returncode == 0, end.stderr
        assert f"{folder}/ö.zarr" in end.stdout
    assert (folder / "ö.zarr" / "0").is_dir()
