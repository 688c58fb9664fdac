"""The section `noise` of a new config, from what the image tells."""

from collections.abc import Iterator
from typing import Any

from denoise_daisy.denoisers.calibration import robust_numbers
from denoise_daisy.denoisers.noise import short
from denoise_daisy.denoisers.noise_doubts import shifted
from denoise_daisy.denoisers.survey import ChannelSurvey, Survey


def noise_section(found: Survey) -> dict[str, Any]:
    """The numbers by the channels' names, or in their order where some share one.

    Raises
    ------
    InputError
        A channel tells nothing of its noise.
    """
    if all(channel.fit.is_gaussian for channel in found.channels):
        numbers = robust_numbers(found, "gaussian")
        return {"kind": "gaussian", "noise_std": numbers.noise_std}
    numbers = robust_numbers(found, "poisson-gaussian")
    names = [channel.name for channel in found.channels]
    section: dict[str, Any] = {"kind": "poisson-gaussian"}
    for key, values in (("gains", numbers.gains), ("offsets", numbers.offsets)):
        listed = list(values or ())
        is_plain = len(set(names)) < len(names)
        section[key] = listed if is_plain else dict(zip(names, listed, strict=True))
    return section


def is_shifted(found: Survey) -> bool:
    """Whether ndsafir's own inverse would change a total by more than is warned of."""
    numbers = robust_numbers(found, "poisson-gaussian")
    pairs = zip(numbers.gains or (), numbers.offsets or (), strict=True)
    channels = zip(found.channels, pairs, strict=True)
    return any([*shifted(channel, *pair)] for channel, pair in channels)


def noise_text(found: Survey) -> str:
    """How sure the numbers are, a line for each channel."""
    return "\n".join(
        [
            "Calibrated from samples all over the image: variance = gain * grey level +"
            " offset.",
            *(line for channel in found.channels for line in _of(channel)),
        ]
    )


def _of(channel: ChannelSurvey) -> Iterator[str]:
    fit = channel.found
    if fit is None:
        yield channel.problem
        return
    gains, offsets = (
        " to ".join(map(short, ends))
        for ends in (fit.gain_interval, fit.offset_interval)
    )
    yield (
        f"{channel.name!r}: gain {gains}, offset {offsets} (95 %); standard deviation"
        f" {short(fit.noise_std)} at the median; noise of neighbours: {fit.verdict}"
    )
