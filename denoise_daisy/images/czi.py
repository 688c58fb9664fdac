"""CZI files as images: pixels through pylibCZIrw, ranges through the directory."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree import ElementTree

import numpy as np
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError
from denoise_daisy.images import czi_metadata
from denoise_daisy.images.czi_directory import Directory, SubBlock, read_directory
from denoise_daisy.images.czi_gaps import Rectangle, gaps
from denoise_daisy.images.image import Channel

DTYPES = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32"}
IMAGE_DIMENSIONS = frozenset("TCZYX")
TILE_DIMENSIONS = frozenset("SM")

MOST_EMPTY = 1000
"""A directory that spans so many times the pixels it names is damaged."""


@dataclass(frozen=True)
class CziImage:
    """One scene of a CZI file, read plane by plane; picklable, opened when needed.

    Axes are ``(t, c, z, y, x)``.  Of the dimensions that the format knows beyond
    these, scene and tile are resolved here and all others have one position.
    """

    path: str
    scene: int | None
    origin: tuple[int, ...]
    """First index along (t, z, y, x) in the file; negative or large on stages."""
    first_channel: int
    selected: tuple[int, ...]
    """Channels of this image, counted from the file's first."""
    space_time: tuple[int, ...]
    """Voxels along (t, z, y, x)."""
    pixel_type: str
    fixed: tuple[tuple[str, int], ...]
    """Positions along the dimensions that have just one."""
    channels: tuple[Channel, ...]
    scale_um: tuple[float | None, ...]
    time_step_s: float | None
    identity: dict[str, str | int]
    warnings: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (t, c, z, y, x)."""
        t, z, y, x = self.space_time
        return t, len(self.selected), z, y, x

    @property
    def ndim(self) -> int:
        """Five."""
        return 5

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(DTYPES[self.pixel_type])

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        ranges = [
            range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)
        ]
        block = np.empty([len(r) for r in ranges], self.dtype)
        if not block.size:
            return block
        t_range, c_range, z_range, y_range, x_range = ranges
        t0, z0, y0, x0 = self.origin
        roi = (x0 + x_range[0], y0 + y_range[0], len(x_range), len(y_range))
        for i, t in enumerate(t_range):
            for j, c in enumerate(c_range):
                for k, z in enumerate(z_range):
                    plane = dict(self.fixed) | {
                        "T": t0 + t,
                        "C": self.first_channel + self.selected[c],
                        "Z": z0 + z,
                    }
                    block[i, j, k] = self._read(roi, plane)
        return block

    def _read(self, roi: Rectangle, plane: dict[str, int]) -> np.ndarray:
        try:
            # Told no type, pylibCZIrw takes that of channel 0, which need not exist.
            pixels: np.ndarray = self._reader.read(
                roi=roi, plane=plane, scene=self.scene, pixel_type=self.pixel_type
            )
        except (RuntimeError, ValueError) as error:
            where = " ".join(f"{d} {i}" for d, i in plane.items())
            raise InputError(
                f"The plane {where} of {self.path!r} can't be read: {_said(error)}."
                " Expected a complete CZI whose compression pylibCZIrw knows; copy the"
                " file again, or export it again in ZEN."
            ) from error
        return pixels[..., 0]

    @cached_property
    def _reader(self) -> pylibczi.CziReader:
        return pylibczi.CziReader(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_reader"}


def open_czi(
    path: str, scene: int | None = None, channels: tuple[int, ...] | None = None
) -> CziImage:
    """One scene of a CZI file; `scene` may be None where there is none or one.

    Raises
    ------
    InputError
        The file is absent, incomplete or of a kind that can't be denoised, or has no
        such scene or channel.
    """
    directory = read_directory(path)
    full_size = [block for block in directory.sub_blocks if not block.is_pyramid]
    scene, blocks = _choose_scene(path, scene, full_size)
    starts, sizes = _ranges(blocks)
    pixel_type = _pixel_type(path, blocks)
    others = sorted(sizes.keys() - IMAGE_DIMENSIONS - TILE_DIMENSIONS)
    _check_sizes(path, directory, blocks, sizes)
    count = sizes.get("C", 1)
    selected = tuple(range(count)) if channels is None else channels
    if len(set(selected)) < len(selected) or max(selected) >= count:
        raise InputError(
            f"input.channels is {list(selected)}, but {path!r} has {count} channels."
            f" Expected some of {list(range(count))}, each once."
        )
    metadata, problems = _metadata(path)
    described = czi_metadata.channels(metadata, count, DTYPES[pixel_type])
    return CziImage(
        path=path,
        scene=scene,
        origin=tuple(starts.get(d, 0) for d in "TZYX"),
        first_channel=starts.get("C", 0),
        selected=selected,
        space_time=tuple(sizes.get(d, 1) for d in "TZYX"),
        pixel_type=pixel_type,
        fixed=tuple((d, starts[d]) for d in others if starts[d]),
        channels=tuple(described[c] for c in selected),
        scale_um=tuple(czi_metadata.scale_um(metadata, axis) for axis in "ZYX"),
        time_step_s=czi_metadata.time_step_s(metadata),
        identity=_identity(directory),
        warnings=(
            *problems,
            *czi_metadata.skew(metadata),
            *gaps(blocks, starts, sizes),
        ),
    )


def _identity(directory: Directory) -> dict[str, str | int]:
    return {
        "size": directory.size,
        "mtime_ns": directory.mtime_ns,
        "guid": directory.guid,
        "directory_sha256": directory.sha256,
    }


def _check_sizes(
    path: str, directory: Directory, blocks: list[SubBlock], sizes: dict[str, int]
) -> None:
    """Refuse dimensions that an image here has not, and a damaged directory."""
    for dimension in sizes.keys() - IMAGE_DIMENSIONS - TILE_DIMENSIONS:
        if sizes[dimension] > 1:
            raise InputError(
                f"The input {path!r} has {sizes[dimension]} positions along dimension"
                f" {dimension} (sizes: {_size_text(sizes)}). Expected just one along"
                " all but T, C, Z, Y and X; split it in ZEN first."
            )
    stored = sum(min(b.size["X"] * b.size["Y"], directory.size) for b in blocks)
    if math.prod(sizes.get(d, 1) for d in "TCZYX") > MOST_EMPTY * stored:
        raise InputError(
            f"The directory of {path!r} is damaged: it spans {_size_text(sizes)}, and"
            f" holds {stored} pixels. Expected a complete CZI; copy it again."
        )


def _choose_scene(
    path: str, scene: int | None, blocks: list[SubBlock]
) -> tuple[int | None, list[SubBlock]]:
    """The scene to read and its sub-blocks; None in a file without scenes."""
    by_scene: dict[int | None, list[SubBlock]] = defaultdict(list)
    for block in blocks:
        by_scene[block.start.get("S")].append(block)
    if scene is None and len(by_scene) == 1:
        return next(iter(by_scene.items()))
    if scene in by_scene:
        return scene, by_scene[scene]
    if None in by_scene:
        raise InputError(
            f"input.scene is {scene}, but {path!r} has no scenes. Expected null."
        )
    sizes = ", ".join(
        f"{s} ({_size_text(_ranges(b)[1])})"
        for s, b in sorted(by_scene.items(), key=lambda item: item[0] or 0)
    )
    raise InputError(
        f"input.scene is {'null' if scene is None else scene}, but {path!r} has the"
        f" scenes {sizes}. Expected one of these numbers."
    )


def _ranges(blocks: Iterable[SubBlock]) -> tuple[dict[str, int], dict[str, int]]:
    """First index and number of indices per dimension."""
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    for block in blocks:
        for d, start in block.start.items():
            end = start + block.size[d]
            starts[d] = min(start, starts.get(d, start))
            ends[d] = max(end, ends.get(d, end))
    return starts, {d: ends[d] - starts[d] for d in starts}


def _size_text(sizes: dict[str, int]) -> str:
    return " ".join(f"{d} {sizes[d]}" for d in "TCZYXHVIRB" if d in sizes)


def _pixel_type(path: str, blocks: list[SubBlock]) -> str:
    found = Counter(block.pixel_type for block in blocks)
    pixel_type = next(iter(found))
    if len(found) == 1 and pixel_type in DTYPES:
        return pixel_type
    if len(found) > 1:
        problem = f"mixes the pixel types {', '.join(sorted(found))}"
    elif pixel_type.startswith("Bgr"):
        problem = f"is a colour image ({pixel_type})"
    else:
        problem = f"has pixels of {pixel_type}"
    raise InputError(
        f"The input {path!r} {problem}. Expected one grey pixel type throughout, of"
        f" {', '.join(DTYPES)}; export the image or its channels as such in ZEN."
    )


def _metadata(path: str) -> tuple[ElementTree.Element, list[str]]:
    """The metadata as XML, empty (and why) where it can't be read."""
    try:
        reader = pylibczi.CziReader(path)
    except RuntimeError as error:
        raise InputError(
            f"The input {path!r} can't be opened as CZI: {_said(error)}. Expected a"
            " complete file; copy it again, or finish its acquisition."
        ) from error
    try:
        text = reader.raw_metadata
        return ElementTree.fromstring(text), []
    except (RuntimeError, ElementTree.ParseError) as error:
        return ElementTree.Element("ImageDocument"), [
            f"The CZI's metadata can't be read ({_said(error)}); pixel sizes, time"
            " step and channel names are missing in the output."
        ]


def _said(error: Exception) -> str:
    """What an error says; pylibCZIrw ends some sentences with a full stop."""
    return str(error).rstrip(".")
