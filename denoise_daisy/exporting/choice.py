"""Which part of a picture is exported: time points, channels, voxels and levels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from denoise_daisy.errors import InputError
from denoise_daisy.exporting.picture import Box, Picture, StoredLevel, shape_of
from denoise_daisy.geometry import AXES
from denoise_daisy.images.channels import channel_numbers
from denoise_daisy.runs.preview_regions import range_of


@dataclass(frozen=True)
class Part:
    """The part of a level."""

    level: StoredLevel
    box: Box
    """The planes that are read."""
    planes: tuple[int, ...]
    """Of these, which is shown for each plane of the first level, in its order."""

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Voxels along (y, x)."""
        _, _, y, x = self.box
        return y.stop - y.start, x.stop - x.start


@dataclass(frozen=True)
class Choice:
    """What is exported of a picture."""

    picture: Picture
    parts: tuple[Part, ...]
    """The first level, and those coarser ones that lie on its voxels."""
    channels: tuple[int, ...]
    """By their numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        t, z, _, _ = self.parts[0].box
        lengths = t.stop - t.start, len(self.channels), z.stop - z.start
        return (*lengths, *self.parts[0].plane_shape)


def choose(
    picture: Picture,
    *,
    roi: Sequence[str] = (),
    channels: str | None = None,
    level: int = 0,
) -> Choice:
    """The part of a picture that options such as ``z=0:4,t=3`` and ``GFP,1`` mean.

    Raises
    ------
    InputError
        They mean none, or one that is not there.
    """
    if level >= len(picture.levels):
        raise InputError(
            f"--level is {level}, but {str(picture.path)!r} has {len(picture.levels)}"
            f" levels. Expected 0 to {len(picture.levels) - 1}."
        )
    levels = picture.levels[level:]
    box = _box(levels[0], roi)
    names = [channel.name for channel in picture.channels]
    numbers: tuple[int, ...] = tuple(range(len(names)))
    if channels is not None:
        asked = [
            int(name) if name.isdecimal() and name not in names else name
            for name in map(str.strip, channels.split(","))
        ]
        numbers = channel_numbers(asked, names, "--channels", repr(str(picture.path)))
    return Choice(picture, tuple(_parts(levels, box)), numbers)


def _box(level: StoredLevel, texts: Sequence[str]) -> Box:
    """The voxels of a level that are asked for, all along an axis not named."""
    shape = shape_of(level)
    parts = [slice(0, n) for n in shape]
    for text in texts:
        for word in text.split(","):
            axis, first, last = range_of(text, word)
            i = AXES.index(axis)
            if not first < last <= shape[i]:
                raise InputError(
                    f"--roi {text!r} asks for {axis} {first}:{last}, but"
                    f" {str(level.path)!r} has {axis} 0:{shape[i]}. Expected a range"
                    " within that, counted from its first voxel."
                )
            parts[i] = slice(first, last)
    return tuple(parts)


def _parts(levels: Sequence[StoredLevel], box: Box) -> Iterator[Part]:
    """Of each level as far as its voxels begin where the box does."""
    t, z, y, x = box
    for level in levels:
        ratios = zip(level.factor, levels[0].factor, strict=True)
        _, fz, fy, fx = (a // b for a, b in ratios)
        if y.start % fy or x.start % fx:
            return
        planes = slice(z.start // fz, -(-z.stop // fz))
        plane = [
            slice(part.start // f, -(-part.stop // f)) for part, f in ((y, fy), (x, fx))
        ]
        shown = tuple(i // fz - planes.start for i in range(z.start, z.stop))
        yield Part(level, (t, planes, *plane), shown)
