"""Images that one of bioio's plugins reads, where no reader of this program does."""

import contextlib
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import identity_of, is_file
from denoise_daisy.images.stored_array import StoredArray, checked_dtype, plain_channels

BIO_FORMATS = "bioio-bioformats"

PLUGINS = {
    ".nd2": "bioio-nd2",
    ".lif": "bioio-lif",
    ".dv": "bioio-dv",
    ".r3d": "bioio-dv",
    ".sldy": "bioio-sldy",
    ".vsi": BIO_FORMATS,
    ".oib": BIO_FORMATS,
    ".oif": BIO_FORMATS,
    ".oir": BIO_FORMATS,
    ".ims": BIO_FORMATS,
    ".zvi": BIO_FORMATS,
    ".ics": BIO_FORMATS,
    ".mvd2": BIO_FORMATS,
}
"""The packages that read what a microscope's maker writes, by ending."""


@dataclass(frozen=True)
class BioioImage(StoredArray):
    """One scene of a file, of which bioio's dask array reads what is asked for."""

    scene: int

    def _voxels(self, part: tuple[slice, ...]) -> np.ndarray:
        try:
            with self._lock:
                voxels = self._data[part].compute(scheduler="synchronous")
            return np.asarray(voxels)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"A part of {self.path!r} can't be read by bioio: {_said(error)}."
                " Expected a complete file; copy it again, or export it as OME-TIFF."
            ) from error

    @cached_property
    def _data(self) -> Any:
        return _opened(self.path, self.scene).dask_data

    @cached_property
    def _lock(self) -> Any:
        return threading.Lock()

    def current_identity(self) -> dict[str, str | int]:
        """The identity of the file as it is now."""
        return identity_of([self.path])

    def __getstate__(self) -> dict[str, Any]:
        made = ("_data", "_lock")
        return {k: v for k, v in self.__dict__.items() if k not in made}


def plugin_of(path: str) -> str | None:
    """The name of the plugin that bioio reads a file with; None if it has none."""
    if find_spec("bioio") is None or not is_file(path):
        return None
    from bioio import BioImage  # noqa: PLC0415 - heavy

    try:
        # bioio prints, and what a command prints may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            found = BioImage.determine_plugin(path, use_plugin_cache=True)
    except Exception:  # noqa: BLE001 - of anybody's plugin
        return None
    return str(found.entrypoint.name)


def scenes_of(path: str) -> list[str]:
    """The names of a file's scenes.

    Raises
    ------
    InputError
        bioio, or a plugin of it, is not installed, or can't read the file.
    """
    return [str(scene) for scene in _opened(path, 0).scenes]


def open_bioio(path: str, scene: int | None) -> BioioImage:
    """One scene of a file; None is the only one.

    Raises
    ------
    InputError
        As `scenes_of`, or there is no such scene, or it can't be denoised.
    """
    names = scenes_of(path)
    if (scene is None and len(names) > 1) or (scene or 0) >= len(names):
        listed = ", ".join(f"{i} {name!r}" for i, name in enumerate(names))
        raise InputError(
            f"input.scene is {'null' if scene is None else scene}, but {path!r} has"
            f" {len(names)} scenes: {listed[:300]}. Expected the number of one."
        )
    opened = _opened(path, scene or 0)
    try:
        order, shape = opened.dims.order, tuple(map(int, opened.dims.shape))
        dtype, sizes = np.dtype(opened.dtype), opened.physical_pixel_sizes
        names_there, step = opened.channel_names, opened.time_interval
    except Exception as error:
        raise _unreadable(path, error) from error
    if order != "TCZYX":
        raise InputError(
            f"bioio says that {path!r} has the axes {order!r}. Expected TCZYX: a colour"
            " image or a mosaic can't be denoised as it is; export it as OME-TIFF."
        )
    return BioioImage(
        path=path,
        part=names[scene or 0],
        axes="tczyx",
        stored_shape=shape,
        pixel_type=checked_dtype(path, dtype),
        selected=tuple(range(shape[1])),
        channels=plain_channels(shape[1], [str(name) for name in names_there]),
        scale_um=(_positive(sizes.Z), _positive(sizes.Y), _positive(sizes.X)),
        time_step_s=_positive(
            step.total_seconds() if isinstance(step, timedelta) else None
        ),
        identity=identity_of([path]),
        warnings=(
            f"The file is read by bioio's plugin {plugin_of(path)}: more slowly than"
            " by a reader of this program, and sizes of voxels are taken for"
            " micrometers, as bioio names no unit. Compare a region with what the"
            " microscope's software shows.",
        ),
        scene=scene or 0,
    )


def _opened(path: str, scene: int) -> Any:
    """A file as bioio has it, at one of its scenes."""
    if not is_file(path):
        raise InputError(
            f"The input {path!r} is no file that is there. Expected an image; check"
            " input.path."
        )
    ending = Path(path).suffix.lower()
    wanted = PLUGINS.get(ending, "and the plugin of bioio that reads it")
    if find_spec("bioio") is None:
        raise InputError(
            f"The input {path!r} is of a format that only bioio reads, which is not"
            " installed. Expected it and its plugin: pip install"
            f" 'denoise-daisy[bioio]' {wanted}. Or export the image as OME-TIFF."
        )
    if plugin_of(path) is None:
        raise InputError(
            f"bioio is installed, but none of its plugins reads {path!r}. Expected one:"
            f" pip install {wanted}. Or export the image as OME-TIFF."
        )
    from bioio import BioImage  # noqa: PLC0415 - heavy

    try:
        opened = BioImage(path, use_plugin_cache=True)
        if scene:
            opened.set_scene(scene)
        return opened
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"The input {path!r} can't be read by bioio's plugin {plugin_of(path)}:"
        f" {_said(error)}. Expected a complete file; copy it again, or export it as"
        " OME-TIFF."
    )


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or repr(error)


def _positive(value: Any) -> float | None:
    return float(value) if value is not None and 0 < value < float("inf") else None
