"""Denoisers: the seam (`base`), and one module for each kind.

A new kind is a new module, and its section in `Denoise`.
"""

from typing import Annotated

from pydantic import Tag

from denoise_daisy.denoisers.gaussian import GaussianFilter
from denoise_daisy.denoisers.median import MedianFilter
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.sections import by_kind

Denoise = Annotated[
    Annotated[Ndsafir, Tag("ndsafir")]
    | Annotated[MedianFilter, Tag("median")]
    | Annotated[GaussianFilter, Tag("gaussian")],
    by_kind("ndsafir"),
]
