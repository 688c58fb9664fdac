"""Let calls on the files of runs fail at random, restart, and see that nothing is lost.

scripts/torture --io SEED [COUNT]       10 runs unless told, with the seeds from SEED on

Each run is disturbed by `tests/harness/io_errors.c`: in its scheduler, in its workers,
or in both; by each call for itself, or by a file system that is away for a moment;
with or without a disk that says it is full.  It may end with all done, with blocks
given up, or stopped or refused with a reason; it must end in time and without a
traceback.  All that it says is done must be what an undisturbed run wrote, then and
after plain restarts, which do none of that again and must end with every byte of an
undisturbed run.  The exit code is 1 if anything is not as promised.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from torture import Round, files_of, has_ended, uninterrupted

SHIM = Path(__file__).parents[1] / "tests" / "harness" / "io_errors.c"

NAMES = ("a chain of tasks", "y and x", "a chain of tasks", "time points, no shards")

WHO = ("scheduler", "workers", "both")

ENDS = {
    0: "all done",
    2: "could not be read",
    3: "blocks given up",
    4: "refused",
    5: "stopped",
}

WAITS = {
    "output_gone": 6,
    "overdue": 4,
    "first_start_pause": 0.1,
    "longest_start_pause": 0.5,
    "heartbeat": 0.5,
    "heartbeat_check": 1.5,
    "scheduler_silent": 15,
    "scheduler_gone": 6,
    "last_block": 8,
    "answer": 3,
    "idle": 10,
    "ledger_lag": 5,
    "hiccup": 4,
    "retry": 0.05,
    "file_away": 1,
    "array_away": 3,
}

HANGS = 150
"""Seconds after which a run that has not ended never will."""


def library(folder: Path) -> Path:
    """The shim, compiled."""
    target, compiler = folder / "io_errors.so", shutil.which("cc")
    if compiler is None:
        raise SystemExit("There is no C compiler (cc).")
    words = [compiler, "-shared", "-fPIC", "-O2", "-o", str(target), str(SHIM), "-ldl"]
    subprocess.run(words, check=True)
    return target


def disturbance(seed: int, shim: Path, output: Path, log: Path) -> dict[str, str]:
    """What goes wrong in a run, as its environment."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    return {
        "LD_PRELOAD": str(shim),
        "IO_ERRORS_PREFIX": str(output.with_suffix("")),
        "IO_ERRORS_WHO": WHO[seed % len(WHO)],
        "IO_ERRORS_SEED": str(seed),
        "IO_ERRORS_ONE_IN": str(round(10 ** dice.uniform(1.8, 3.2))),
        "IO_ERRORS_AFTER": str(dice.choice((0, 100, 400))),
        "IO_ERRORS_FULL": str(dice.choice((0, 0, 0, 5, 50))),
        "IO_ERRORS_LAST": str(dice.choice((0, 0, 200, 2000))),
        "IO_ERRORS_LOG": str(log),
    }


def disturbed(round_: Round, errors: dict[str, str], log: Path) -> str:
    """A run with errors, to its end; how it ended and what hit it, in words."""
    plain, round_.env = round_.env, round_.env | errors
    run = round_.start()
    round_.env = plain
    if not has_ended(run, HANGS):
        run.send_signal(signal.SIGABRT)
        run.wait()
        round_.wrong.append(f"no end within {HANGS} s: {said_by(round_)}")
        return "hung"
    if run.returncode not in ENDS or "Traceback (most" in said_by(round_):
        round_.wrong.append(f"ended with {run.returncode}: {said_by(round_)}")
    elif run.returncode in (0, 3):
        round_.check_end(run.returncode, interrupted=False)
    if left := round_.workers():
        round_.wrong.append(f"workers are left: {left}")
    hits = log.read_text().splitlines() if log.exists() else []
    names = ("WHO", "ONE_IN", "AFTER", "FULL", "LAST")
    settings = " ".join(errors[f"IO_ERRORS_{name}"] for name in names)
    end = ENDS.get(run.returncode, run.returncode)
    if run.returncode:
        end = f"{end} ({said_by(round_).strip().splitlines()[-1]})"
    return f"{settings}: {len(hits)} errors; {end}"


def said_by(round_: Round) -> str:
    """What a start had to say."""
    return (round_.folder / "stderr").read_text()


def check_files(round_: Round, wanted: dict[str, bytes]) -> None:
    """Hold what is in place, and what the ledgers say of it, to an undisturbed run."""
    for name, data in files_of(round_.output).items():
        if Path(name).name != "zarr.json" and data != wanted.get(name, data):
            round_.wrong.append(f"after the errors, {name} is not what it should be")
    if round_.done() not in (set(), round_.expected()):
        round_.start("verify", str(round_.output)).wait()
        if "blocks that are done are as" not in (said := said_by(round_)):
            round_.wrong.append(f"verify, after the errors: {said}")


def times_done(round_: Round) -> "Counter[tuple[str, tuple[int, ...]]]":
    """How many lines say so of each block."""
    every = round_.lines()
    return Counter((s, tuple(x["block"])) for s, x in every if x["status"] == "done")


def play(
    seed: int, folder: Path, shim: Path, name: str, wanted: dict[str, bytes]
) -> bool:
    """One run, and what becomes of it; whether all is as promised."""
    round_ = Round(folder / f"{seed}", name, hook="")
    round_.env |= {
        "DENOISE_DAISY_WAITS": json.dumps(WAITS),
        "PYTHONFAULTHANDLER": "1",
    }
    log = round_.folder / "errors"
    try:
        said = disturbed(round_, disturbance(seed, shim, round_.output, log), log)
        check_files(round_, wanted)
        before = times_done(round_)
        round_.finish(wanted)
        after = times_done(round_)
        round_.wrong += [f"{b} was done again" for b in before if after[b] != before[b]]
    finally:
        round_.end()
    print(
        f"seed {seed}: {name!r}, {said}, {len(before)} of {round_.blocks} blocks done"
        f" before the restart",
        flush=True,
    )
    for problem in round_.wrong:
        print(f"WRONG, seed {seed} ({name}): {problem}", flush=True)
    if round_.wrong and (kept := os.environ.get("TORTURE_KEEP")):
        shutil.copytree(round_.folder, Path(kept, str(seed)), dirs_exist_ok=True)
    return not round_.wrong


def main() -> int:
    """Torture; the exit code."""
    first, count = int(sys.argv[1]), int((*sys.argv[2:], "10")[0])
    wanted: dict[str, dict[str, bytes]] = {}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="torture-io-") as temporary:
        folder = Path(temporary)
        shim = library(folder)
        for seed in range(first, first + count):
            name = NAMES[seed // len(WHO) % len(NAMES)]
            if name not in wanted:
                wanted[name] = uninterrupted(folder / f"whole-{len(wanted)}", name)
            wrong += not play(seed, folder, shim, name, wanted[name])
            shutil.rmtree(folder / f"{seed}")
    print(f"Seeds {first} to {first + count - 1}: {wrong or 'nothing'} wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
