"""The config file, as types."""

from denoise_daisy.config.config import Config

__all__ = ["Config"]
