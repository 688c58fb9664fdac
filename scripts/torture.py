"""Kill random processes of runs at random times, restart, and see that nothing is lost.

scripts/torture SEED [KILLS]            50 kills unless told
scripts/torture --io SEED [COUNT]       errors of the file system, see torture_io.py

Runs of several configs take turns, one of them a chain of tasks.  Each ends, after
however many kills and restarts, with every byte of its outputs held against an
uninterrupted run's, and with the executions of its blocks held against the ledgers: no
block may be begun once its line "done" is written.  The executions are noted in a file
by hooks in workers, where engines are called and, for tasks, around a block's work.
Where a run ends with blocks given up, all of these must be in its list.  The exit code
is 1 if anything is not as promised.  The same seed makes the same choices, though not
the same timing.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from demo_czi import add_noise, truth, write_czi

MARK = 40_000
"""Grey level at the centre of block 0; that of block i is i more."""

LATE_SECONDS = 10
"""A block may be begun while another process writes its line, but no later."""

HITS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

FINE = (0, 3, 5, 130, 143, *(-number for number in HITS))
"""What a run that was hit may end with; by a signal itself where Python starts."""

CONFIGS: dict[str, dict[str, Any]] = {
    "y and x": {
        "shape": (1, 1, 2, 128, 96),
        "block": (1, 2, 32, 32),
        "output": {"dtype": "float32", "chunks": {"y": 16, "x": 16}},
        "workers": {"count": 2},
    },
    "time points, no shards": {
        "shape": (3, 1, 2, 64, 64),
        "block": (1, 2, 32, 32),
        "output": {"chunks": {"y": 16, "x": 16}, "shards": None, "durability": "none"},
        "workers": {"count": 3},
    },
    "z, two channels, no retries": {
        "shape": (1, 2, 24, 64, 32),
        "block": (1, 8, 32, 32),
        "output": {"chunks": {"z": 4, "y": 32, "x": 32}},
        "workers": {"count": 2, "max_retries": 0},
    },
    "a chain of tasks": {
        "shape": (2, 1, 4, 64, 64),
        "block": (1, 4, 32, 64),
        "output": {"chunks": {"z": 4, "y": 32, "x": 32}},
        "workers": {"count": 2},
        "tasks": [
            {"kind": "smooth", "name": "soft", "sigma": {"z": 1, "y": 2, "x": 2}},
            {
                "kind": "threshold",
                "name": "bright",
                "input": "soft",
                "method": "otsu",
                "blocks": {"shape": {"y": 32, "x": 32}},
            },
            {
                "kind": "label",
                "name": "cells",
                "input": "bright",
                "table": "csv",
            },
            {"kind": "pyramid", "name": "small", "input": "denoised", "levels": 1},
        ],
        "stages": {
            "soft": (2, 1, 2, 1),
            "bright.value": (1, 1, 1, 1),
            "bright": (2, 1, 2, 2),
            "cells.pieces": (2, 1, 2, 1),
            "cells.union": (2, 1, 1, 1),
            "cells": (2, 1, 2, 1),
            "cells.table": (1, 1, 1, 1),
            "small.1": (2, 1, 1, 1),
        },
    },
}
"""`stages` are the blocks along (t, z, y, x) of what comes after the denoising."""

HOOK = f'''
"""Notes the blocks that workers begin; Python imports this file by itself."""
import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def since_done(stage, block):
    """Seconds since a file that says the block is done was last written; or None."""
    ages = []
    for file in Path(sys.argv[1], "ledger", stage).glob("*.jsonl"):
        for line in file.read_bytes().split(b"\\n")[:-1]:
            line = json.loads(line)
            if line["status"] == "done" and line["block"] == block:
                ages.append(time.time() - file.stat().st_mtime)
    return max(ages, default=None)


def note(stage, block):
    late = since_done(stage, block)
    values = {{"stage": stage, "block": block, "pid": os.getpid(), "late": late}}
    os.write(evidence, json.dumps(values).encode() + b"\\n")


def hook_denoising():
    from denoise_daisy.denoisers.engine_choice import EngineChoice

    function = EngineChoice.denoise
    grid = json.loads(os.environ["TORTURE_GRID"])

    def noted(choice, image, noise):
        block = np.unravel_index(int(image.max()) - {MARK}, grid)
        note("denoise", [int(i) for i in block])
        time.sleep(float(os.environ["TORTURE_SLEEP"]))
        return function(choice, image, noise)

    EngineChoice.denoise = noted


def hook_tasks():
    from denoise_daisy.worker import recording

    function = recording.process_block

    def noted(stage, index, **options):
        if stage.name != "denoise":
            note(stage.name, [int(i) for i in index])
            time.sleep(float(os.environ["TORTURE_SLEEP"]) / 4)
        return function(stage, index, **options)

    recording.process_block = noted


if "denoise_daisy.worker" in sys.orig_argv:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    evidence = os.open(os.environ["TORTURE_EVIDENCE"], flags, 0o644)
    hook_denoising()
    hook_tasks()
'''


class Round:
    """One output, from its first start to its last block."""

    def __init__(
        self, folder: Path, name: str, *, sleep: float = 0, hook: str = HOOK
    ) -> None:
        self.name = name
        self.folder = folder
        self.output = folder / "out.zarr"
        self.wrong: list[str] = []
        values = CONFIGS[name]
        self.blocks = len(self.expected())
        self.retries = values["workers"].get("max_retries", 3)
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(hook)
        channels = values["shape"][1]
        config = {
            "input": {"path": str(image_of(folder.parent, name))},
            "output": {"path": str(self.output)} | values["output"],
            "noise": {
                "kind": "poisson-gaussian",
                "gains": [3.92] * channels,
                "offsets": [-367.0] * channels,
            },
            "denoise": {"patch": {"y": 1, "x": 1}, "max_iter": 2},
            "blocks": {"shape": dict(zip("tzyx", values["block"], strict=True))},
            "workers": {"kind": "local"} | values["workers"],
            "tasks": values.get("tasks", []),
        }
        (folder / "config.json").write_text(json.dumps(config))
        path = [str(folder), os.environ.get("PYTHONPATH", "")]
        self.env = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "TORTURE_EVIDENCE": str(folder / "evidence"),
            "TORTURE_GRID": json.dumps(grid_of(name)),
            "TORTURE_SLEEP": str(sleep),
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """The program in the background."""
        words = words or ("run", str(self.folder / "config.json"))
        with (self.folder / "stderr").open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "denoise_daisy", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=self.env,
                text=True,
                start_new_session=True,
            )

    def workers(self) -> list[psutil.Process]:
        """Worker processes of this run, whichever scheduler started them."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if "denoise_daisy.worker" in words and f"{self.output}.run" in words:
                found.append(process)
        return found

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every whole line of the ledgers, and its stage."""
        for file in Path(f"{self.output}.run", "ledger").glob("*/*.jsonl"):
            for line in file.read_bytes().split(b"\n")[:-1]:
                yield file.parent.name, json.loads(line)

    def done(self) -> set[tuple[str, tuple[int, ...]]]:
        """Stages and blocks with a line that says so."""
        every = self.lines()
        return {(s, tuple(x["block"])) for s, x in every if x["status"] == "done"}

    def check_end(self, code: int, *, interrupted: bool) -> None:
        """What a run that has ended must hold, whatever ended it."""
        errors = (self.folder / "stderr").read_text()
        if interrupted and "\nKeyboardInterrupt\n" in errors:
            return
        if code not in FINE or "Traceback (most" in errors:
            self.wrong.append(f"the run ended with {code}: {errors[-2000:]}")
        if code == 0 and len(self.done()) < self.blocks:
            self.wrong.append("the run ended with 0, but not all blocks are done")
        if code == 3:
            failed = [(s, x) for s, x in self.lines() if x["status"] == "failed"]
            last = max(x["epoch"] for _, x in failed)
            tries = Counter(
                (s, tuple(x["block"])) for s, x in failed if x["epoch"] == last
            )
            given_up = {b for b, count in tries.items() if count > self.retries}
            for stage, block in given_up - self.done():
                _, _, listed = errors.partition(f"blocks of {stage} failed for good:")
                if f"block {list(block)} " not in listed:
                    self.wrong.append(
                        f"{block} of {stage} is given up, but not in the list"
                    )

    def finish(self, wanted: dict[str, bytes]) -> int:
        """Start until all is done, compare; how many executions there were."""
        for _ in range(5):
            run = self.start()
            run.wait()
            self.check_end(run.returncode, interrupted=False)
            if run.returncode == 0:
                break
        else:
            self.wrong.append("five plain starts did not finish the run")
        verify = self.start("verify", str(self.output))
        if verify.wait():
            self.wrong.append("verify: " + (self.folder / "stderr").read_text())
        if self.done() != self.expected():
            self.wrong.append(f"not all blocks, or others: {sorted(self.done())}")
        found = files_of(self.output)
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                self.wrong.append(f"{name} is not the uninterrupted run's")
        begun = self.begun()
        for line in begun:
            if line["late"] is not None and line["late"] > LATE_SECONDS:
                self.wrong.append(f"was begun after it was done: {line}")
        return len(begun)

    def expected(self) -> set[tuple[str, tuple[int, ...]]]:
        """All stages and blocks that there are."""
        grids = {"denoise": grid_of(self.name)} | CONFIGS[self.name].get("stages", {})
        return {
            (name, block) for name, grid in grids.items() for block in np.ndindex(*grid)
        }

    def begun(self) -> list[dict[str, Any]]:
        """Every execution that was begun."""
        file = self.folder / "evidence"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def wait_for_work(self, scheduler: "subprocess.Popen[str]") -> None:
        """Until another block is begun, or the run has ended."""
        before = len(self.begun())
        while scheduler.poll() is None and len(self.begun()) == before:
            time.sleep(0.05)

    def end(self) -> None:
        """Leave no process."""
        for worker in self.workers():
            worker.kill()


def grid_of(name: str) -> list[int]:
    """Number of blocks along (t, z, y, x)."""
    (t, _, z, y, x), block = CONFIGS[name]["shape"], CONFIGS[name]["block"]
    return [-(-n // b) for n, b in zip((t, z, y, x), block, strict=True)]


def image_of(folder: Path, name: str) -> Path:
    """A CZI whose blocks have their number at their centre."""
    path = folder / f"{name}.czi"
    if not path.exists():
        shape, grid, block = (
            CONFIGS[name]["shape"],
            grid_of(name),
            CONFIGS[name]["block"],
        )
        image = add_noise(truth(shape))
        for number, place in enumerate(np.ndindex(*grid)):
            t, z, y, x = (i * b + b // 2 for i, b in zip(place, block, strict=True))
            image[t, 0, z, y, x] = MARK + number
        write_czi(path, image)
    return path


def files_of(output: Path) -> dict[str, bytes]:
    """Every file of a run's outputs, and of what its tasks keep, by its path.

    Without what groups say of their own run, such as when it began.
    """
    folder, run = output.parent, output.with_name(f"{output.name}.run")
    places = {*folder.glob(f"{output.stem}.*"), run / "tasks"} - {run}
    files = (p for place in places for p in (place, *place.rglob("*")) if p.is_file())
    contents = {p: p.read_bytes() for p in files}
    return {
        str(p.relative_to(folder)): without_its_run(data)
        if p.name == "zarr.json"
        else data
        for p, data in contents.items()
    }


def without_its_run(data: bytes) -> bytes:
    """The metadata of a group or an array, but for what they say of their run."""
    try:
        told = json.loads(data)
        del told["attributes"]["denoise_daisy"]
    except (ValueError, KeyError, TypeError):
        return data
    return json.dumps(told).encode()


def uninterrupted(folder: Path, name: str) -> dict[str, bytes]:
    """The files of a run that nothing hits."""
    run = Round(folder, name, sleep=0)
    if run.start().wait():
        raise SystemExit((run.folder / "stderr").read_text())
    return files_of(run.output)


def hit(
    dice: random.Random, round_: Round, scheduler: "subprocess.Popen[str]"
) -> tuple[str, str]:
    """Hit one process; its kind and the signal's name."""
    (name,) = dice.choices(("SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP"), (12, 3, 3, 3))
    victims = sorted(round_.workers(), key=lambda p: p.pid)
    whom = "worker" if victims and dice.random() < 0.6 else "scheduler"
    victim = dice.choice(victims) if whom == "worker" else psutil.Process(scheduler.pid)
    try:
        victim.send_signal(signal.Signals[name])
        if name == "SIGSTOP":
            time.sleep(dice.uniform(0.1, 1))
            victim.send_signal(signal.SIGCONT)
    except psutil.NoSuchProcess:
        return whom, "nothing, it had just ended"
    return f"{whom} {victim.pid}", name


def torture(dice: random.Random, round_: Round, kills: Iterator[int]) -> int:
    """Hit a run until it is done or there are no more kills; number of its starts."""
    starts = 0
    while True:
        scheduler, interrupted = round_.start(), False
        starts += 1
        while scheduler.poll() is None:
            # Mostly while blocks are in work; else at any time, as in a start.
            if dice.random() < 0.8:
                round_.wait_for_work(scheduler)
            if has_ended(scheduler, dice.expovariate(1 / 1.5)):
                break
            number = next(kills, None)
            if number is None:
                scheduler.kill()
                break
            whom, name = hit(dice, round_, scheduler)
            interrupted |= name == "SIGINT"
            print(
                f"kill {number}: {name} to {whom}; {len(round_.done())} of"
                f" {round_.blocks} blocks of {round_.name!r} done",
                flush=True,
            )
            if name in ("SIGKILL", "SIGTERM") and not whom.startswith("worker"):
                has_ended(scheduler, 0.2)
        code = scheduler.wait()
        round_.check_end(code, interrupted=interrupted)
        if code == 0 or not length_hint(kills):
            return starts


def has_ended(process: "subprocess.Popen[str]", seconds: float) -> bool:
    """Whether a process ends within that time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def main() -> int:
    """Torture; the exit code."""
    seed, count = int(sys.argv[1]), int((*sys.argv[2:], "50")[0])
    dice = random.Random(seed)  # noqa: S311 - no secret
    kills = iter(range(1, count + 1))
    names = list(CONFIGS)
    dice.shuffle(names)
    wanted: dict[str, dict[str, bytes]] = {}
    wrong: list[str] = []
    rounds = starts = blocks = executions = 0
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary:
        folder = Path(temporary)
        while length_hint(kills):
            name = names[rounds % len(names)]
            if name not in wanted:
                wanted[name] = uninterrupted(folder / f"whole-{rounds}", name)
            round_ = Round(folder / f"{rounds}", name, sleep=dice.uniform(0.2, 1.5))
            try:
                starts += torture(dice, round_, kills)
                executions += round_.finish(wanted[name])
            finally:
                round_.end()
            rounds += 1
            blocks += round_.blocks
            for problem in round_.wrong:
                print(f"WRONG, round {rounds} ({name}): {problem}", flush=True)
            wrong += round_.wrong
    print(
        f"Seed {seed}: {count} kills in {rounds} rounds and {starts} starts; {blocks}"
        f" blocks took {executions} executions, {executions - blocks} of them because"
        f" a block was in flight. {len(wrong) or 'Nothing'} wrong."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
