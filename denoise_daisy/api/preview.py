"""`preview`: small parts of an image, denoised as a run would."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.errors import InputError
from denoise_daisy.runs.many_images import first_of, is_many
from denoise_daisy.runs.preview import Preview
from denoise_daisy.runs.preview import preview as preview_one
from denoise_daisy.runs.shared_noise import expected_noise

Region: TypeAlias = str | Mapping[str, slice | range | Sequence[int] | int]
"""Voxels by axis: ``{"z": slice(0, 4), "y": (0, 96), "t": 3}``, or ``"z=0:4,y=0:96"``.
"""


def preview(
    config: AnyConfig,
    *,
    roi: Region | Sequence[Region] = (),
    auto: int | None = None,
    sweep: Mapping[str, Any] | Sequence[str] = (),
    unchecked_ndsafir: bool = False,
    say: Callable[[str], None] = print,
) -> Preview:
    """Denoise small parts, to the bit as a run of this config would; write nothing.

    Parameters
    ----------
    config
        A config, its path or a dict; of many images the first is shown.
    roi
        A part or several, in voxels of the image by axis; along an axis not named it
        lies in the middle.  None: some are chosen.
    auto
        How many are chosen.
    sweep
        Values of keys to compare, such as ``{"pvalue": [0.05, 0.1]}``.
    unchecked_ndsafir, say
        Accept any version of ndsafir; takes what a person should read meanwhile.

    Returns
    -------
    Preview
        `regions` have `raw`, `denoised` and `residual`, arrays of ``(t, c, z, y, x)``,
        and figures that tell whether it was noise; `recommended` is the best config of
        a sweep.  A notebook shows the pictures.

    Raises
    ------
    InputError, RefusedError
        As of `run`, and where the regions or the sweep can't be.
    """
    name = os.fspath(config) if isinstance(config, str | os.PathLike) else "config"
    asked = [roi] if isinstance(roi, str | Mapping) else roi
    return preview_one(
        _one(Config.of(config), say),
        name=name,
        rois=[_text(region) for region in asked],
        auto=auto,
        sweep=_sweep(sweep),
        unchecked_ndsafir=unchecked_ndsafir,
        say=say,
    )


def _one(config: Config, say: Callable[[str], None]) -> Config:
    """Of many images the first, with the noise of all if they share it."""
    if not is_many(config):
        return config
    noise = expected_noise(config)
    one, said = first_of(config)
    say(said)
    return one.model_copy(update={"noise": noise})


def _text(region: Region) -> str:
    """A region as the command line has it."""
    if isinstance(region, str):
        return region
    return ",".join(f"{axis}={_ends(region, axis)}" for axis in region)


def _ends(region: Mapping[str, Any], axis: str) -> str:
    asked = region[axis]
    if isinstance(asked, slice | range):
        if asked.step in (None, 1) and asked.stop is not None:
            return f"{asked.start or 0}:{asked.stop}"
    elif not hasattr(asked, "__len__"):
        return str(asked)
    elif len(asked) == 2:
        return f"{asked[0]}:{asked[1]}"
    raise InputError(
        f"roi is {dict(region)}. Expected voxels by axis, each with begin and end:"
        ' {"z": slice(0, 4), "y": (0, 96), "t": 3}.'
    )


def _sweep(asked: Mapping[str, Any] | Sequence[str]) -> Sequence[str]:
    """Values of keys as the command line has them."""
    if isinstance(asked, Mapping):
        return [f"{k}={','.join(map(_value, _several(v)))}" for k, v in asked.items()]
    return [asked] if isinstance(asked, str) else asked


def _value(value: Any) -> str:
    """A value as the command line has it; NumPy's as those they stand for."""
    return value if isinstance(value, str) else json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise InputError(f"sweep has {value!r}. Expected numbers, words, lists or objects.")


def _several(values: Any) -> Iterable[Any]:
    """The values of a key; one alone is taken as such."""
    found = values.tolist() if isinstance(values, np.generic | np.ndarray) else values
    is_one = isinstance(found, str | Mapping) or not isinstance(found, Iterable)
    return [found] if is_one else found
