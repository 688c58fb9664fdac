"""The denoised image as a dask array, of which only what is looked at is computed."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.errors import RefusedError
from denoise_daisy.geometry import BlockGrid
from denoise_daisy.machine import cores
from denoise_daisy.resolved.resolve import resolve, with_denoiser
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.extension import extension_of
from denoise_daisy.runs.lazy_chunks import chunks_of
from denoise_daisy.runs.lazy_image import LazyImage

if TYPE_CHECKING:
    import dask.array as da

NOT_STARTED = "LAZY"
"""In place of the id of a run that was not started."""


def lazy(
    config: AnyConfig,
    *,
    chunks: Mapping[str, int] | None = None,
    unchecked_ndsafir: bool = False,
    say: Callable[[str], None] = print,
) -> "da.Array":
    """The denoised image as a dask array, computed chunk by chunk when looked at.

    Every voxel is, to the bit, what `run` writes; no run has to be started, and nothing
    is written.  What a run of the same settings has written is read instead, once it
    was held against that run's checksums.

    Parameters
    ----------
    config
        What to denoise, and how; tasks are left out.
    chunks
        Voxels of a chunk by axis, such as ``{"z": 8, "y": 256}``; along an axis not
        named as long as the image, but 1 along t; all channels are in one.  None: some
        that take two seconds at most.
    unchecked_ndsafir
        Accept a version of ndsafir that blocks were not checked with.
    say
        Takes what a person should read meanwhile.

    Returns
    -------
    dask.array.Array
        Of ``(t, c, z, y, x)``, the shape of ``input.roi`` and the output's type.  A
        process computes one chunk at a time, on all cores, and keeps the last 256 MiB.

    Raises
    ------
    InputError, RefusedError
        As of `run`.  Also where the config names several images, or the result depends
        on the run's blocks (``blocks.context``, ``blocks.skip``) and these are not
        known yet.
    """
    given = Config.of(config)
    one = given.model_copy(update={"input": given.input.one, "tasks": ()})
    if not unchecked_ndsafir:
        one.denoise.check_engine()
    run, has_run = _run_of(one)
    grid = chunks_of(run, chunks, has_run=has_run)
    run = _known(run, say)
    # How long a block takes nobody asks any more, nor is it to be told to others.
    denoising = replace(run.denoising, grid=grid, pace=None)
    return _as_dask(LazyImage(denoising, run.array, has_run=has_run), grid)


def _as_dask(image: LazyImage, grid: BlockGrid) -> "da.Array":
    # Half a second to import.
    import dask.array as da  # noqa: PLC0415 - heavy

    t, z, y, x = (tuple(map(int, lengths)) for lengths in grid.write_lengths)
    return da.from_array(
        image,
        chunks=(t, (image.shape[1],), z, y, x),
        # By default dask names an array after what it is, and would take one for
        # another that was computed before.
        name=False,
        fancy=False,
        meta=np.empty((0,) * 5, image.dtype),
    )


def _run_of(config: Config) -> tuple[ResolvedRun, bool]:
    """The run of a config, and whether it was started.

    What was started in its place with other settings is none of it.  Of an image that
    has got longer since, it is the run that --extend would make: with the noise numbers
    that were found, and nothing of it written yet.
    """
    record = RunRecord.read(RunDir.of_output(Path(config.output.path)))
    if record is not None:
        run = resolve(config, record, NOT_STARTED)
        with suppress(RefusedError):
            return run, extension_of(run, record, is_asked=True) is None
    return resolve(config, None, NOT_STARTED), False


def _known(run: ResolvedRun, say: Callable[[str], None]) -> ResolvedRun:
    """The run with noise numbers, on all cores of this machine if it can use them."""
    denoiser, config = run.denoiser, run.config
    if denoiser.needs_probing:
        say("Calibrating the noise...")
        denoiser, _ = denoiser.probe(run.image)
        say(f"Noise: {denoiser.noise_text}.")
    if denoiser.shares_threads:
        denoiser = config.denoise.denoiser(
            noise=config.noise,
            channels=run.image.shape[1],
            threads=cores(),
            probed=denoiser.probed,
        )
    denoiser.load(run.image.dtype)
    return with_denoiser(run, denoiser)
