"""Denoisers: the seam (`base`), and one module for each kind.

A new kind is a new module, and its section in `Denoise`.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from denoise_daisy.denoisers.gaussian import GaussianFilter
from denoise_daisy.denoisers.median import MedianFilter
from denoise_daisy.denoisers.ndsafir import Ndsafir


def _ndsafir_unless_said(value: object) -> object:
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "ndsafir", **value}
    return value


Denoise = Annotated[
    Ndsafir | MedianFilter | GaussianFilter,
    Field(discriminator="kind"),
    BeforeValidator(_ndsafir_unless_said),
]
