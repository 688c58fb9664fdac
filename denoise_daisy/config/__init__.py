"""The config file, as types."""

from denoise_daisy.config.config import AnyConfig, Config

__all__ = ["AnyConfig", "Config"]
