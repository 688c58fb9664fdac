"""What other settings would change: a run's denoising, cut anew with each."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from denoise_daisy.amounts import GIB
from denoise_daisy.blockwise.limits import Pace
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.config import Config
from denoise_daisy.denoisers.native_engine import MOST_THREADS
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.errors import InputError
from denoise_daisy.launchers.local import MEMORY_SHARE, LocalWorkers
from denoise_daisy.launchers.workers import BatchWorkers
from denoise_daisy.machine import free_memory
from denoise_daisy.resolved.pools import Pool
from denoise_daisy.resolved.resolve import denoising_with
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.plan import Alternative
from denoise_daisy.runs.plan_hours import Clock
from denoise_daisy.runs.preflight import Preflight
from denoise_daisy.tasks.denoise import DENOISE

TIMES_MEMORY = (2, 4)
"""So many times the memory of a worker is tried."""


def alternatives(
    config: Config, found: Preflight, clock: Clock
) -> Iterator[Alternative]:
    """Settings that are possible and change something; none once all is denoised.

    Parameters
    ----------
    config
        As it was given, with what is left to this machine still open.
    found
        The run that it makes.
    clock
        Of this machine.
    """
    if not found.denoises:
        return
    seen = {_what_matters(found.run)}
    for setting, other in _others(config, found):
        try:
            run = denoising_with(found.run, other)
        except InputError:
            continue
        if _what_matters(run) not in seen:
            seen.add(_what_matters(run))
            yield _alternative(setting, run, found, clock)


def _others(config: Config, found: Preflight) -> Iterator[tuple[str, Config]]:
    """Other configs, and what of them is other."""
    memory = found.run.limits(DENOISE).memory / GIB
    for times in TIMES_MEMORY:
        yield from _more_memory(config, found.run, memory * times)
    workers, denoise = config.workers, config.denoise
    if isinstance(workers, LocalWorkers) and workers.threads_per_worker != "auto":
        yield _with(config, "workers", {"threads_per_worker": "auto"})
    is_new = found.record is None
    if isinstance(denoise, Ndsafir) and denoise.engine == "auto" and is_new:
        yield _with(config, "denoise", {"precision": "float32"})


def _more_memory(
    config: Config, run: ResolvedRun, gib: float
) -> Iterator[tuple[str, Config]]:
    """Jobs ask for it; on this machine it must be there."""
    number = float(f"{gib:.3g}")
    if isinstance(config.workers, BatchWorkers):
        _, other = _with(config, "blocks", {"memory_gib": "auto"})
        yield _with(other, "workers", {"memory_gib": number})
    elif gib * GIB * run.config.workers.number <= free_memory() * MEMORY_SHARE:
        yield _with(config, "blocks", {"memory_gib": number})


def _with(
    config: Config, section: str, values: Mapping[str, Any]
) -> tuple[str, Config]:
    told = ", ".join(f'"{key}": {_json(value)}' for key, value in values.items())
    changed = getattr(config, section).model_copy(update=dict(values))
    return (
        f'"{section}": {{{told}}}',
        config.model_copy(update={section: changed}),
    )


def _json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def _what_matters(run: ResolvedRun) -> tuple[object, ...]:
    """What memory and time follow from, so that equals can be told."""
    workers, shape = run.config.workers, tuple(run.denoising.grid.block_shape)
    return shape, workers.number, workers.threads, run.denoiser.engine


def _alternative(
    setting: str, run: ResolvedRun, found: Preflight, clock: Clock
) -> Alternative:
    """What it comes to, all that is asked for together."""
    before, denoising = found.run, _timed(run, found.run)
    workers, grid = run.config.workers, run.denoising.grid

    def pool_of(stage: Stage) -> Pool:
        pool = before.pool_of(before.denoising if stage is denoising else stage)
        return pool if pool.name else run.pools[0]

    is_same = run.denoiser.engine == before.denoiser.engine
    time = (clock if is_same else replace(clock, factor=1.0)).time_of(
        [denoising if s is before.denoising else s for s in found.asked_stages],
        pool_of,
    )
    return Alternative(
        setting=setting,
        blocks=grid.size,
        read_factor=grid.voxels_read / grid.voxels_written,
        workers=min(workers.number, grid.size),
        memory_bytes=run.memory,
        hours=time.hours,
        core_hours=time.core_hours,
    )


def _timed(run: ResolvedRun, before: ResolvedRun) -> Stage:
    """The denoising, with the pace that was measured before where it is the same."""
    stage, known = run.denoising, before.denoising.pace
    if (
        stage.pace is None
        or known is None
        or run.denoiser.engine != before.denoiser.engine
    ):
        return stage
    was, now = (
        min(each.config.workers.threads, MOST_THREADS) for each in (before, run)
    )
    steps = stage.pace.steps
    return replace(stage, pace=Pace(steps, lambda: known.seconds_per_step * was / now))
