"""Denoise microscopy images of any size with ndsafir, block by block and exactly.

>>> from denoise_daisy import Config, run
>>> run(Config.load("config.json"))  # doctest: +SKIP
"""

from denoise_daisy.config import Config
from denoise_daisy.runs.plan_report import plan
from denoise_daisy.runs.run import run

__all__ = ["Config", "plan", "run"]
