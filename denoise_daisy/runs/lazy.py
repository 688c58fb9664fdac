"""The denoised image as a dask array, of which only what is computed is read."""

from pathlib import Path
from typing import Any

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.outputs.ome_zarr import LEVEL, open_written
from denoise_daisy.run_dir.run_dir import RunDir


def lazy(path: str | Path) -> Any:
    """The full resolution of an output as a dask array of ``(t, c, z, y, x)``.

    `path` is that of the output, of its config or of its run directory, or of another
    image or labels that a run has made.  A chunk of the array is a file of the output
    (a shard, or a chunk where there are no shards), read when it is computed: nothing
    is read before.  What the run has not written yet raises FileNotFoundError then.

    Raises
    ------
    InputError
        There is no such output.
    """
    # Half a second to import.
    import dask.array as da  # noqa: PLC0415 - heavy

    place = Path(path).absolute()
    if place.is_file():
        place = Path(Config.load(place).output.path)
    elif RunDir(place).run_file.is_file():
        place = RunDir(place).output
    try:
        array = open_written(place / LEVEL)
    except Exception as error:
        raise InputError(
            f"{str(place / LEVEL)!r} can't be opened"
            f" ({' '.join(str(error).split()) or type(error).__name__}). Expected a"
            " config file, an output (….zarr) or its run directory (….zarr.run), of a"
            " run that was started."
        ) from error
    # By default dask names an array after what it is, and would take one that has been
    # computed again for the one before.
    return da.from_array(array, chunks=array.shards or array.chunks, name=False)
