"""`calibrate`: what the noise of an image is, and put into its config."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.config.edited import edited
from denoise_daisy.denoisers.calibration import ndsafir_numbers, robust_numbers
from denoise_daisy.denoisers.ndsafir import Ndsafir
from denoise_daisy.denoisers.noise import (
    Noise,
    NoiseNumbers,
    describe,
    given_numbers,
    short,
)
from denoise_daisy.denoisers.noise_doubts import doubts
from denoise_daisy.denoisers.survey import ChannelSurvey, Survey, survey
from denoise_daisy.durable import write_atomic
from denoise_daisy.errors import InputError
from denoise_daisy.images.formats import is_image, open_image
from denoise_daisy.images.image import Image
from denoise_daisy.images.input import Input
from denoise_daisy.images.series_files import place_of
from denoise_daisy.outputs.layout import Output
from denoise_daisy.reports.notebook import Shown, framed
from denoise_daisy.runs.calibration_report import channel_rows, page

if TYPE_CHECKING:
    from denoise_daisy.algorithms.noise_fit import NoiseFit

MOST_PIXELS = 1 << 26
"""Of a plane whose samples ndsafir's own calibration is given: it takes them whole."""


@dataclass(frozen=True, eq=False)
class Calibration(Shown):
    """What the noise of an image is; as text what a person wants to know of it."""

    source: str
    image: Image
    noise: Noise
    """The section of the config."""
    survey: Survey
    own: NoiseNumbers | str
    """What ndsafir's own calibration finds, or why it finds nothing."""
    is_unbiased: bool
    """Whether the config asks for the unbiased inverse."""
    note: str = ""
    """Which of several images it is; empty of one."""

    @property
    def fits(self) -> "Mapping[str, NoiseFit | None]":
        """By channel: gain and offset with intervals, verdict, shares of grey levels.

        None where a channel tells nothing of its noise.
        """
        return {channel.name: channel.found for channel in self.survey.channels}

    def put_into(self, config: AnyConfig) -> Config:
        """A config with these numbers; the given one stays as it is.

        Raises
        ------
        InputError
            There are none, or it is no config.
        """
        given = Config.of(config)
        kept = given.noise.model_dump(include={"method", "shared"})
        noise = type(self.noise).model_validate(kept | self.section)
        return given.model_copy(update={"noise": noise})

    @property
    def numbers(self) -> NoiseNumbers:
        """What a run calibrates that is given none.

        Raises
        ------
        InputError
            The image tells nothing of its noise.
        """
        if self.noise.method == "robust":
            return robust_numbers(self.survey, self.noise.kind)
        if isinstance(self.own, str):
            raise InputError(self.own)
        return self.own

    @property
    def section(self) -> dict[str, Any]:
        """The section of the config that says so; raises as `numbers` does."""
        found = asdict(self.numbers).items()
        said = {name: value for name, value in found if value is not None}
        return {"kind": self.noise.kind, **said}

    def __str__(self) -> str:
        lines = [self.note] if self.note else []
        lines += [f"{self.source}: {self._sampled}"]
        for channel, own in self._channels:
            rows = channel_rows(channel, own)
            lines += ["", f"channel {channel.name}"]
            lines += [f"  {name:<10} {text}".rstrip() for name, text in rows]
        lines += ["", *(f"Warning: {text}" for text in self.warnings)]
        return "\n".join([*lines, *self._in_config])

    @property
    def page(self) -> str:
        """All of it with plots, as one HTML file that needs no other."""
        return page(
            source=self.source,
            sampled=self._sampled,
            channels=self._channels,
            warnings=self.warnings,
            in_config=self._in_config,
        )

    def _repr_html_(self) -> str:
        return framed(self.page)

    @property
    def _sampled(self) -> str:
        shape = " x ".join(map(str, self.image.shape))
        windows = [w for channel in self.survey.channels for w in channel.windows]
        planes = {(w.t, w.z) for w in windows}
        voxels = sum((w.y[1] - w.y[0]) * (w.x[1] - w.x[0]) for w in windows)
        return (
            f"{shape} (t c z y x) {self.image.dtype}; sampled were {voxels} voxels in"
            f" {len(windows)} windows of {len(planes)} planes"
        )

    @property
    def _channels(self) -> list[tuple[ChannelSurvey, tuple[float, float] | str]]:
        """Each with gain and offset of ndsafir's own calibration, or a word of it."""
        own, channels = self.own, self.survey.channels
        if isinstance(own, str):
            return [(channel, own) for channel in channels]
        if own.noise_std is not None:
            said = f"sd {short(own.noise_std)} at all levels, of all channels"
            return [(channel, said) for channel in channels]
        pairs = zip(own.gains or (), own.offsets or (), strict=True)
        return list(zip(channels, pairs, strict=True))

    @property
    def warnings(self) -> list[str]:
        """What is doubtful about the numbers, each with what to do."""
        with suppress(InputError):  # which the channel says
            known = self.image, self.numbers, self.survey
            return list(doubts(*known, is_unbiased=self.is_unbiased))
        return []

    @property
    def _in_config(self) -> list[str]:
        """What stands in the config, and what would."""
        given = given_numbers(self.noise, self.image.shape[1])
        now = [f"In the config now: {describe(given)}."] if given else []
        with suppress(InputError):
            now.append(f'For the config: "noise": {json.dumps(self.section)}')
        return now


def config_of(path: Path) -> Config:
    """The config in a file; of an image one with nothing but defaults.

    Raises
    ------
    InputError
        It can't be used.
    """
    if not is_image(path):
        return Config.load(path)
    image = Input(path=str(path.absolute()))
    return Config(input=image, output=Output(path=f"{image.path}.zarr"))


def calibrate(config: Config) -> Calibration:
    """What the noise of a config's image is, whatever numbers the config has.

    Raises
    ------
    InputError
        The image can't be opened, or the config has not one number per channel.
    """
    return calibration_of(open_image(config.input), config)


def calibration_of(image: Image, config: Config) -> Calibration:
    """The same of an image that is open; raises as `calibrate` does."""
    noise, told = config.noise, config.denoise
    given_numbers(noise, image.shape[1])
    own = _own(image, noise.kind)
    is_unbiased = isinstance(told, Ndsafir) and told.inverse == "unbiased"
    return Calibration(
        config.input.one.path, image, noise, survey(image), own, is_unbiased
    )


def write_numbers(calibration: Calibration, path: Path) -> None:
    """Put the numbers into a config file; all else in it stays as it was written.

    Raises
    ------
    InputError
        There are none, or the file can't be edited safely; it is as it was.
    """
    path = path.resolve()
    section = calibration.section
    text = path.read_bytes().decode()
    before = Config.parse(text.encode(), name=str(path), folder=path.parent)
    try:
        after = edited(text, "noise", section)
        config = Config.parse(after.encode(), name=str(path), folder=path.parent)
        is_right = config == before.model_copy(update={"noise": config.noise})
        is_right = is_right and config.noise == before.noise.model_copy(update=section)
    except (ValueError, InputError):
        is_right = False
    if not is_right:
        raise InputError(
            f"The config {str(path)!r} can't be edited safely, and is as it was. Put"
            f' this into it: "noise": {json.dumps(section)}'
        )
    write_atomic(path, after, mode=path.stat().st_mode & 0o777)


def write_page(calibration: Calibration, path: Path) -> Path:
    """Write the page of it beside a config or an image; its path.

    Raises
    ------
    InputError
        It can't be written.
    """
    place = place_of(path)
    page = place.with_name(f"{place.stem}.noise.html")
    try:
        write_atomic(page, calibration.page, durable=False)
    except OSError as error:
        raise InputError(
            f"The plots can't be written to {str(page)!r} ({error.strerror}). Make its"
            " folder writable, or copy the config to one that is."
        ) from error
    return page


def _own(image: Image, kind: str) -> NoiseNumbers | str:
    if image.shape[-2] * image.shape[-1] > MOST_PIXELS:
        return "not asked: it takes whole planes, which are large here"
    try:
        return ndsafir_numbers(image, kind)
    except InputError as error:
        return str(error)
