"""Planes of a CZI as pylibCZIrw makes them of tiles, compressed ones too."""

from collections.abc import Mapping

import numpy as np
from pylibCZIrw import czi as pylibczi

from denoise_daisy.errors import InputError


class Composer:
    """A file that pylibCZIrw has opened.

    Raises
    ------
    InputError
        It can't open it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._reader = pylibczi.CziReader(path)
        except RuntimeError as error:
            raise InputError(
                f"The input {path!r} can't be opened as CZI: {_said(error)}. Expected a"
                " complete file; copy it again, or finish its acquisition."
            ) from error

    def read(
        self,
        roi: tuple[int, int, int, int],
        plane: Mapping[str, int],
        scene: int | None,
        pixel_type: str,
    ) -> np.ndarray:
        """A part of a plane, ``(y, x, sample)``, with zeros where no tile is.

        `roi` is x, y, width and height in pixels of the document.

        Raises
        ------
        InputError
            It can't be read.
        """
        try:
            # Told no type, pylibCZIrw takes that of channel 0, which need not exist.
            pixels: np.ndarray = self._reader.read(
                roi=roi, plane=dict(plane), scene=scene, pixel_type=pixel_type
            )
        except (RuntimeError, ValueError) as error:
            where = " ".join(f"{d} {i}" for d, i in plane.items())
            raise InputError(
                f"The plane {where} of {self._path!r} can't be read: {_said(error)}."
                " Expected a complete CZI whose compression pylibCZIrw knows; copy the"
                " file again, or export it again in ZEN."
            ) from error
        return pixels


def _said(error: Exception) -> str:
    """What an error says; pylibCZIrw ends some sentences with a full stop."""
    return str(error).rstrip(".")
