"""The engine in C beside ndsafir: its time, and how far its result is from that."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from benchmark_tools import OFFSET, print_table
from demo_czi import GAIN, add_noise, truth

from denoise_daisy.denoisers.engines import (
    Engine,
    native_engines,
    ndsafir_itself,
    why_not,
)
from denoise_daisy.denoisers.native_engine import Precision
from denoise_daisy.denoisers.ndsafir_engine import Algorithm, load_ndsafir
from denoise_daisy.denoisers.ndsafir_steps import elements_compared
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.machine import cores

ROUNDS = 3
"""Times that everything is done; the best of them is told."""

PVALUE = 0.1

PERCENTILE = 99.99
"""Of the differences, beside the largest."""


@dataclass(frozen=True, slots=True)
class Case:
    """An image and how it is denoised."""

    name: str
    shape: tuple[int, ...]
    """``(t, c, z, y, x)``."""
    patch: tuple[int, ...]
    """Radii along ``(t, z, y, x)``."""
    active_dimensions: str
    iterations: int

    @property
    def algorithm(self) -> Algorithm:
        """What ndsafir is told."""
        return Algorithm(self.patch, self.active_dimensions, self.iterations, PVALUE)

    @property
    def steps(self) -> float:
        """Elements of patches, times the places that each is compared with."""
        t, c, *zyx = self.shape
        return c * elements_compared(
            self.patch, self.active_dimensions, self.iterations, (t, *zyx)
        )

    @property
    def text(self) -> str:
        """The case in a few words."""
        patch = " ".join(
            f"{axis}{n}" for axis, n in zip("tzyx", self.patch, strict=True) if n
        )
        size = "x".join(map(str, self.shape))
        return (
            f"{self.name}: {size} (t c z y x), patch {patch},"
            f" searched {self.active_dimensions}, {self.iterations} iterations"
        )


CASES = tuple(
    Case(*image, iterations)
    for image in (
        ("2-D", (1, 1, 1, 560, 560), (0, 0, 3, 3), "yx"),
        ("3-D", (1, 1, 12, 112, 112), (0, 1, 3, 3), "zyx"),
        ("3-D and time", (3, 1, 8, 72, 72), (0, 1, 3, 3), "tzyx"),
        ("two channels", (1, 2, 10, 88, 88), (0, 1, 3, 3), "zyx"),
    )
    for iterations in (3, 4)
)


@dataclass(slots=True)
class Trial:
    """An engine on some threads: the best of its times, and all its results."""

    engine: Engine
    threads: int
    wall: float = float("inf")
    cpu: float = float("inf")
    """User and system, of all threads."""
    results: list[np.ndarray] = field(default_factory=list)

    def measure(self, case: Case, image: np.ndarray, noise: NoiseNumbers) -> None:
        """Denoise once."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = self.engine.denoise(image, noise, case.algorithm, self.threads)
        self.wall = min(self.wall, time.perf_counter() - wall)
        self.cpu = min(self.cpu, time.process_time() - cpu)
        self.results.append(result)


def run(repeat: int, *, every_set: bool) -> dict[str, Any]:
    """Measure every case with the fastest instruction set, or with every one.

    What is found has ``failed``, a text, where the bitwise engine has other bits.
    """
    load_ndsafir()
    found = [_run_case(case, repeat, every_set=every_set) for case in CASES]
    rows = [row for case in found for row in case["rows"]]
    for precision in get_args(Precision):
        for threads in sorted({row["threads"] for row in rows}):
            ratios = [
                row["times_as_fast"]
                for row in rows
                if row["engine"].startswith(precision) and row["threads"] == threads
            ]
            print(
                f"{precision}, threads {threads}: {min(ratios):.2f} to"
                f" {max(ratios):.2f} times as fast as ndsafir"
            )
    wrong = max(row["differing"] for row in rows if row["engine"].startswith("bitwise"))
    print(f"Goal voxels in which bitwise differs 0: {wrong}")
    failed = f"The bitwise engine differs from ndsafir in {wrong} voxels of an image."
    return {"cases": found} | ({"failed": failed} if wrong else {})


def _run_case(case: Case, repeat: int, *, every_set: bool) -> dict[str, Any]:
    print(f"{case.text}...", file=sys.stderr)
    image = add_noise(truth(case.shape))
    noise = NoiseNumbers((GAIN,) * case.shape[1], (OFFSET,) * case.shape[1])
    # On two threads at least, where ndsafir differs from itself.
    threads = (1, max(2, cores()))
    engines = [ndsafir_itself(), *_engines(case, every_set=every_set)]
    trials = [Trial(engine, n) for n in threads for engine in engines]
    for _ in range(repeat):
        for trial in trials:
            trial.measure(case, image, noise)
    reference = trials[0].results[0]
    base = {trial.threads: trial for trial in trials if trial.engine == engines[0]}
    rows = [
        _times(trial, base[trial.threads], case.steps)
        | _differences(trial.results, reference)
        for trial in trials
    ]
    print(f"{case.text}, best of {repeat}")
    _print(rows)
    return {"case": case.text, "steps": case.steps, "rows": rows}


def _engines(case: Case, *, every_set: bool) -> list[Engine]:
    """Bitwise and float32, with the fastest instruction set first."""
    found = []
    for precision in get_args(Precision):
        engines = list(native_engines(precision, case.algorithm, case.shape[1]))
        if not engines:
            missing = why_not(case.algorithm, case.shape[1])
            sys.exit(f"There is no engine to measure: {missing}.")
        found += engines if every_set else engines[:1]
    return found


def _times(trial: Trial, base: Trial, steps: float) -> dict[str, Any]:
    """`base` is ndsafir on as many threads."""
    return {
        "engine": trial.engine.name,
        "threads": trial.threads,
        "wall_seconds": trial.wall,
        "cpu_seconds": trial.cpu,
        "ns_per_step": trial.cpu / steps * 1e9,
        "times_as_fast": base.wall / trial.wall,
        "times_less_cpu": base.cpu / trial.cpu,
    }


def _differences(
    results: Sequence[np.ndarray], reference: np.ndarray
) -> dict[str, Any]:
    """From ndsafir on one thread, in grey levels, of all results together."""
    all_results = np.stack(results)
    difference = np.abs(all_results.astype(np.float64) - reference)
    return {
        "differing": int((all_results != reference).any(axis=0).sum()),
        "rms_difference": float(np.sqrt(np.mean(difference**2))),
        "percentile_difference": float(np.percentile(difference, PERCENTILE)),
        "largest_difference": float(difference.max()),
    }


def _print(rows: Sequence[dict[str, Any]]) -> None:
    header = (
        *("engine", "threads", "wall s", "CPU s", "ns / step", "x faster", "x CPU"),
        *("differing", "rms diff", f"{PERCENTILE} %", "largest"),
    )
    table = [
        (
            row["engine"],
            str(row["threads"]),
            f"{row['wall_seconds']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{row['ns_per_step']:.2f}",
            f"{row['times_as_fast']:.2f}",
            f"{row['times_less_cpu']:.2f}",
            str(row["differing"]),
            f"{row['rms_difference']:.2g}",
            f"{row['percentile_difference']:.2g}",
            f"{row['largest_difference']:.2g}",
        )
        for row in rows
    ]
    print_table(header, table)
