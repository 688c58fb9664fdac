"""How workers and threads share a machine's cores, and what larger blocks save."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denoise_daisy import plan, run
from denoise_daisy.denoisers import native_engine
from denoise_daisy.denoisers.native_engine import instruction_sets
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.launchers import local
from denoise_daisy.launchers.local import LocalWorkers
from denoise_daisy.launchers.slurm import SlurmWorkers
from denoise_daisy.resolved import resolve
from harness import (
    config_for,
    ledger_lines,
    load,
    output_of,
    small_czi,
    small_image,
    whole_image,
)
from harness.images import MemoryImage
from harness.prepared import resolved

needs_engine = pytest.mark.skipif(
    not instruction_sets(), reason="the engine in C is not there"
)

AUTO: dict[str, Any] = {"kind": "local", "count": "auto", "threads_per_worker": "auto"}

MEDIAN = {"kind": "median", "size": {"y": 3}}


def shared(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    *,
    blocks: float = math.inf,
    **asked: Any,
) -> tuple[int, int]:
    """Workers, and threads in each, of an engine that makes use of threads."""
    monkeypatch.setattr(local, "cores", lambda: cores)
    workers = LocalWorkers.model_validate({"kind": "local"} | asked)
    told = workers.resolved(shares_threads=True, blocks=blocks)
    assert (told.count, told.threads_per_worker) == (told.number, told.threads)
    return told.number, told.threads


@pytest.mark.parametrize(("threads", "count"), [(1, 8), (2, 4), (3, 2), (8, 1), (9, 1)])
def test_as_many_workers_start_as_have_cores_for_their_threads(
    threads: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared(monkeypatch, 8, threads_per_worker=threads) == (count, threads)


@pytest.mark.parametrize(
    ("count", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (9, 1), (0, 8)]
)
def test_workers_share_eight_cores_without_one_too_many(
    count: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shared(monkeypatch, 8, count=count, threads_per_worker="auto")
    assert found == (count, threads)


@pytest.mark.parametrize(
    ("cores", "workers", "threads"),
    [
        *((1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 2, 2), (8, 2, 4)),
        *((12, 2, 6), (16, 2, 8), (18, 3, 6), (20, 4, 5), (64, 8, 8), (128, 16, 8)),
    ],
)
def test_workers_have_up_to_eight_cores_and_two_of_them_take_turns(
    cores: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And few cores have nothing to do: none of twenty."""
    assert shared(monkeypatch, cores, **AUTO) == (workers, threads)


@pytest.mark.parametrize(
    ("blocks", "workers", "threads"),
    [(1, 1, 64), (2, 2, 32), (3, 3, 21), (8, 8, 8), (9, 8, 8)],
)
def test_few_blocks_have_all_cores(
    blocks: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared(monkeypatch, 64, blocks=blocks, **AUTO) == (workers, threads)
    one_each = shared(monkeypatch, 64, blocks=blocks, threads_per_worker=1)
    assert one_each == (64, 1)


def test_where_threads_are_of_no_use_every_worker_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "cores", lambda: 8)
    for count, number in (("auto", 8), (2, 2)):
        asked = LocalWorkers.model_validate(AUTO | {"count": count})
        told = asked.resolved(shares_threads=False, blocks=1)
        assert (told.count, told.threads_per_worker) == (number, 1)
        # As the workers of a task, of which nothing more is known.
        assert (asked.number, asked.threads) == (number, 1)


def test_jobs_have_what_they_ask_for() -> None:
    slurm = SlurmWorkers(kind="slurm", count=5, cpus_per_task=3)
    assert slurm.resolved(shares_threads=True, blocks=1) == slurm


# What the denoiser has to do with it.


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In four files, on a machine of 64 cores."""
    monkeypatch.setattr(local, "cores", lambda: 64)
    return small_czi(tmp_path / "in.czi", (1, 1, 4, 64, 64))


def asked_of(image: Path, **sections: Any) -> dict[str, Any]:
    config = config_for(image, image.with_name("out.zarr"))
    config["output"] |= {"chunks": {"z": 4, "y": 16, "x": 64}, "shards": None}
    config |= {"workers": AUTO, "blocks": {"memory_gib": 1}} | sections
    if config["denoise"].get("kind") == "median":
        del config["noise"]
    return config


@needs_engine
@pytest.mark.parametrize(
    ("blocks", "workers", "threads"),
    [({}, 4, 16), ({"shape": {"y": 32}}, 2, 32), ({"shape": {}}, 1, 64)],
)
def test_as_many_workers_are_planned_as_there_are_blocks(
    blocks: dict[str, Any], workers: int, threads: int, image: Path
) -> None:
    config = load(asked_of(image, blocks=blocks | {"memory_gib": 4}))
    run = resolved(config)
    assert run.denoising.grid.size == workers
    assert (run.config.workers.number, run.config.workers.threads) == (workers, threads)
    told = run.record(1).config["workers"]
    assert (told["count"], told["threads_per_worker"]) == (workers, threads)
    assert isinstance(run.denoiser, NdsafirDenoiser)
    assert run.denoiser.threads == threads
    assert run.pools[0].workers == run.config.workers
    assert f"{workers} local, {threads} threads each" in str(plan(config))


@needs_engine
def test_a_worker_that_has_all_the_work_has_all_the_memory(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "free_memory", lambda: 10 << 30)
    run = resolved(load(asked_of(image, blocks={"shape": {}})))
    assert run.limits("denoise").memory == 8 << 30


NO_THREADS: dict[str, dict[str, Any]] = {
    "ndsafir itself": {"patch": {"y": 1, "x": 1}, "engine": "ndsafir"},
    "a median": MEDIAN,
    "what the engine in C can't do": {"patch": {"y": 1, "x": 1}, "pvalue": 0},
}


@pytest.mark.parametrize("name", NO_THREADS)
def test_what_has_no_use_for_threads_has_a_worker_for_each_core(
    name: str, image: Path
) -> None:
    run = resolved(load(asked_of(image, denoise=NO_THREADS[name])))
    assert (run.config.workers.number, run.config.workers.threads) == (64, 1)
    assert run.is_exact


def test_without_the_engine_in_c_every_core_has_a_worker(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_engine, "instruction_sets", lambda: ())
    run = resolved(load(asked_of(image)))
    assert (run.config.workers.number, run.config.workers.threads) == (64, 1)


# A run that goes on with other threads than it was begun with.


@needs_engine
@pytest.mark.parametrize("threads", [2, "auto"])
def test_a_run_goes_on_with_other_threads_to_the_whole_images_bits(
    threads: int | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four blocks are done, their files are away."""
    monkeypatch.setattr(local, "cores", lambda: 8)
    source = small_czi(tmp_path / "in.czi", (1, 1, 4, 64, 64))
    config = asked_of(source, workers={"kind": "local", "count": 1})
    config["output"]["dtype"] = "float32"
    config["blocks"] |= {"shape": {"y": 16}}
    said: list[str] = []
    run(load(config), say=said.append)
    output = Path(config["output"]["path"])
    [file] = Path(f"{output}.run").glob("ledger/denoise/*.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]))
    for line in lines[2:]:
        (output / "0/c/0/0/0" / str(json.loads(line)["block"][2]) / "0").unlink()
    config["workers"] |= {"threads_per_worker": threads}
    run(load(config), say=said.append)
    told = [line.rpartition(", ")[2] for line in said if line.startswith("Denoising")]
    used = 2 if threads == 2 else 8
    assert told == ["1 threads per worker.", f"{used} threads per worker."]
    assert len(list(ledger_lines(output))) == 4
    whole = whole_image(small_image((1, 1, 4, 64, 64)), config)
    np.testing.assert_array_equal(output_of(output), whole)


# Memory and time.


@needs_engine
def test_threads_work_with_memory_of_their_own(image: Path) -> None:
    """None of it is the tasks', who come when it is given back."""
    soft = {"kind": "smooth", "name": "soft", "sigma": {"y": 1}}
    found = []
    for threads in (1, 3):
        workers = {"kind": "local", "count": 1, "threads_per_worker": threads}
        asked = asked_of(image, workers=workers, blocks={"shape": {}})
        plain = resolved(load(asked))
        chained = resolved(load(asked | {"tasks": [soft]}))
        # SciPy stays in the worker.
        assert chained.memory - plain.memory == 24 << 20
        [smooth] = [s for s in chained.stages if s.name == "soft"]
        found.append((plain.memory, smooth.memory))
    (one, soft_one), (three, soft_three) = found
    # The image itself, 24 bytes a voxel beside its two, and a worker's 200 MiB.
    assert three - one == 2 * (one - (200 << 20) - 4 * 64 * 64 * 26) > 0
    assert soft_one == soft_three


@needs_engine
@pytest.mark.parametrize(
    ("section", "share"),
    [
        ({}, 4),
        ({"precision": "float32"}, 4),
        ({"engine": "ndsafir"}, 4),
        ({"pvalue": 0}, 1),
    ],
)
def test_four_threads_take_a_quarter_of_the_time_where_they_share_it(
    section: dict[str, Any], share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_daisy.denoisers.ndsafir.timed", lambda *_: 2.0)
    asked = Ndsafir.model_validate(section)
    denoiser = NdsafirDenoiser(asked, "gaussian", None, threads=4, channels=1)
    assert denoiser.seconds_per_step(channels=1) == 2.0 / share


# Seventeen time points of a light sheet, on 16 cores with 64 GiB.

LARGE = (17, 1, 1501, 2048, 1936)


class LargeImage(MemoryImage):
    """So large an image, of which nothing is read."""

    path = "large.czi"

    def __init__(self) -> None:
        super().__init__(np.broadcast_to(np.uint16(0), LARGE))


@needs_engine
def test_fewer_workers_of_more_threads_compute_less_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has 3.2 GiB or, of two, 25.6."""
    monkeypatch.setattr(local, "cores", lambda: 16)
    monkeypatch.setattr(local, "free_memory", lambda: 64 << 30)
    monkeypatch.setattr(resolve, "open_image", lambda _: LargeImage())
    monkeypatch.setattr(NdsafirDenoiser, "seconds_per_step", lambda *_: 1e-11)
    factors = []
    for threads, gib in ((1, 3.2), ("auto", 25.6)):
        config = config_for(
            tmp_path / "large.czi",
            tmp_path / "out.zarr",
            denoise={"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4},
            workers=AUTO | {"threads_per_worker": threads},
        )
        run = resolved(load(config))
        assert run.limits("denoise").memory == int(gib * (1 << 30))
        assert run.memory <= gib * (1 << 30)
        grid = run.denoising.grid
        factors.append(grid.voxels_read / grid.voxels_written)
    assert 1 < factors[1] < factors[0]
