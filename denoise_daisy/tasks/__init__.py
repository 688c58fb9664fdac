"""Tasks: what runs on the denoised blocks, each built as one stage or several.

A new kind is a new module, and its section in `Task`.
"""

from typing import Annotated

from pydantic import Field

from denoise_daisy.tasks.function import Function
from denoise_daisy.tasks.label import Label
from denoise_daisy.tasks.pyramid import Pyramid
from denoise_daisy.tasks.smooth import Smooth
from denoise_daisy.tasks.threshold import Threshold

Task = Annotated[
    Pyramid | Smooth | Threshold | Label | Function, Field(discriminator="kind")
]
