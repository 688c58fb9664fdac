"""Faults on demand in the processes of a run; Python imports a copy by itself.

A `Hook` copies this file to a folder of PYTHONPATH, as sitecustomize.py.  What to do is
a JSON object in the variable FAULTS, or else in faults.json beside the copy, which may
change while the processes run:

  engine             "median" if that is what denoises, not ndsafir
  sleep              seconds that each denoising takes longer
  free               how many denoisings do; later ones are held, for ten minutes
  fail               by number of a block, how its denoising fails
  fail all           how each denoising fails
  no engine          workers can't import ndsafir
  clocks             workers have one of these, by `libfaketime`
  call               a system call that fails: `who` makes it, `at` which, with what
                     `path`, `after` how many, by which `error`, `always` or once
  late               seconds that a list of a ledger's files, and what it tells of them,
                     is believed: so long do other hosts' files of NFS show late
  killed at unlink   --overwrite is killed when it has deleted that many files

The start of every denoising is noted beside it, in `begun`: number of the block, which
is how much its brightest voxel exceeds MARK, and process.
"""

import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - quick

MARK = 40_000


def faults() -> dict[str, Any]:
    """What to do just now."""
    if text := os.environ.get("FAULTS"):
        return dict(json.loads(text))
    try:
        with open(os.path.join(HERE, "faults.json")) as file:  # noqa: PTH118, PTH123
            return dict(json.load(file))
    except FileNotFoundError:
        return {}


def fail(kind: str, denoise: Callable[[Any], Any], image: Any) -> Any:
    if kind == "exception":
        raise ValueError("this block is bad")
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exit":
        os._exit(9)
    if kind == "lost":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "timeout":
        time.sleep(1000)
    if kind == "memory":
        limits = resource.getrlimit(resource.RLIMIT_AS)
        image = image.repeat(16, 3).repeat(16, 4)
        with open("/proc/self/statm") as file:  # noqa: PTH123
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size, limits[1]))
        try:
            return denoise(image)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
    raise AssertionError(kind)


def pause(now: dict[str, Any], number: int) -> float:
    """Seconds that the denoising which was begun as this one takes longer."""
    return float(600 if number > now.get("free", number) else now.get("sleep", 0))


def watch_denoising(owner: Any, name: str, before: int = 0) -> None:
    """Note each denoising; let it take longer, and fail.

    The image comes behind so many other arguments.
    """
    function = getattr(owner, name)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    begun = os.open(os.path.join(HERE, "begun"), flags, 0o644)  # noqa: PTH118

    def faulty(*arguments: Any, **options: Any) -> Any:
        first, (image, *others) = arguments[:before], arguments[before:]
        block = int(image.max()) - MARK
        os.write(begun, f"{block} {os.getpid()}\n".encode())
        so_far = os.pread(begun, os.lseek(begun, 0, os.SEEK_CUR), 0)
        number = so_far.count(b"\n")
        start = time.monotonic()
        while time.monotonic() - start < pause(now := faults(), number):
            time.sleep(0.05)
        kind = now.get("fail", {}).get(str(block)) or now.get("fail all")
        if kind:
            return fail(kind, lambda i: function(*first, i, *others, **options), image)
        return function(*arguments, **options)

    setattr(owner, name, faulty)


def strikes(call: dict[str, Any]) -> bool:
    """Whether it is time; only one process at one time may say so."""
    call["after"] -= 1
    if call["after"] >= 0:
        return False
    try:
        os.close(os.open(call["token"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return bool(call.get("always", False))
    return True


def watch_opens(call: dict[str, Any]) -> None:
    failing: list[int] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or failing or not isinstance(arguments[0], str):
            return
        path, _, flags = arguments
        if call["path"] in path and not flags & os.O_WRONLY and ".partial" not in path:
            failing.append(1)
            try:
                if strikes(call):
                    if call["error"] == "MemoryError":
                        raise MemoryError
                    number = getattr(errno, call["error"])
                    raise OSError(number, os.strerror(number), path)
            finally:
                failing.clear()

    sys.addaudithook(watch)


def watch_syncs(call: dict[str, Any]) -> None:
    """The line is there for a while, and read, before it turns out not to be safe."""
    fsync = os.fsync

    def late(fd: Any) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
        if call["path"] in path and path.endswith(".jsonl") and strikes(call):
            time.sleep(1.5)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return fsync(fd)

    os.fsync = late


class Kept(list[Any]):
    """A list of a folder, to be used as `os.scandir` gives it."""

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


def keep_lists(seconds: float) -> None:
    scandir = os.scandir
    kept: dict[Any, tuple[float, Kept]] = {}

    def late(path: Any = ".") -> Any:
        name = os.fspath(path)
        if "/ledger/" not in str(name):
            return scandir(path)
        if name not in kept or time.monotonic() - kept[name][0] > seconds:
            entries = Kept(scandir(path))
            for entry in entries:
                entry.stat()
            kept[name] = (time.monotonic(), entries)
        return kept[name][1]

    os.scandir = late


def die_at_unlink(count: int) -> None:
    unlink, left = os.unlink, [count]

    def last_unlink(path: Any, **options: Any) -> None:
        unlink(path, **options)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_deletion(event: str, _: tuple[Any, ...]) -> None:
        if event == "shutil.rmtree":
            os.unlink = last_unlink

    sys.addaudithook(watch_deletion)


def change_clock(given: dict[str, Any]) -> None:
    """Start this process again under another clock, unless that has been done."""
    if "LD_PRELOAD" not in os.environ:
        os.environ["LD_PRELOAD"] = given["libfaketime"]
        os.environ["FAKETIME"] = given["clocks"][os.getpid() % len(given["clocks"])]
        os.execv(sys.executable, sys.orig_argv)


def begin(given: dict[str, Any], words: list[str]) -> None:
    is_worker = any(
        word.endswith(("denoise_daisy.worker", "_worker.py")) for word in words
    )
    call = given.get("call")
    if call and (is_worker if call["who"] == "worker" else call["who"] in words):
        {"open": watch_opens, "fsync": watch_syncs}[call["at"]](call)
    if given.get("late"):
        keep_lists(given["late"])
    if is_worker:
        if given.get("clocks"):
            change_clock(given)
        if given.get("no engine"):
            # An import of it is refused, as Python has it.
            sys.modules["ndsafir"] = None  # type: ignore[assignment]
        elif given.get("engine") == "median":
            from scipy import ndimage

            watch_denoising(ndimage, "median_filter")
        else:
            # Whichever engine computes; not what it is tried with before.
            from denoise_daisy.denoisers.engine_choice import EngineChoice

            watch_denoising(EngineChoice, "denoise", before=1)
    elif "denoise_daisy" in words and given.get("killed at unlink"):
        die_at_unlink(given["killed at unlink"])


begin(faults(), sys.orig_argv)
