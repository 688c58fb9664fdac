"""Channels by number, wherever a config names them: so it is recorded and compared."""

from denoise_daisy.config import Config
from denoise_daisy.denoisers.noise import PoissonGaussian
from denoise_daisy.images.channels import by_number
from denoise_daisy.images.image import Image


def channels_by_number(config: Config, image: Image) -> Config:
    """The config with numbers in the place of the names of the image's channels.

    Raises
    ------
    InputError
        The numbers of the noise name another channel, or not all.
    """
    source, noise = config.input, config.noise
    if source.channels is not None:
        source = source.model_copy(update={"channels": image.selected})
    if isinstance(noise, PoissonGaussian):
        names = [channel.name for channel in image.channels]
        update = {
            key: by_number(numbers, names, f"noise.{key}", repr(source.one.path))
            for key, numbers in (("gains", noise.gains), ("offsets", noise.offsets))
            if isinstance(numbers, dict)
        }
        noise = noise.model_copy(update=update)
    return config.model_copy(update={"input": source, "noise": noise})
