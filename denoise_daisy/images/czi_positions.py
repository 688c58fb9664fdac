"""Positions of a CZI beyond time, channel and space, of which an image has just one.

Rotations, illuminations, phases (or an Airyscan's detectors), views and blocks.
"""

import json
from collections.abc import Mapping

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi_entries import SubBlocks
from denoise_daisy.images.czi_words import MOST_LISTED, listed, size_text

RESOLVED_DIMENSIONS = frozenset("TCZYXSM")
"""Those of an image, and scene and tile."""


def selected(
    path: str,
    blocks: SubBlocks,
    starts: dict[str, int],
    sizes: dict[str, int],
    select: Mapping[str, int],
) -> SubBlocks:
    """The sub-blocks at one position along each further dimension.

    `select` names those that are asked for, by small letters.  What the scene spans is
    changed to that one position.

    Raises
    ------
    InputError
        There is no such position, or there are several and none is asked for.
    """
    asked = json.dumps(dict(select))
    for letter, position in select.items():
        dimension = letter.upper()
        if dimension not in sizes:
            there = sorted(sizes.keys() - RESOLVED_DIMENSIONS)
            raise InputError(
                f"input.select is {asked}, but {path!r} has no dimension {dimension},"
                f" only T, C, Z, Y and X{''.join(f' and {d}' for d in there)}. Expected"
                " a dimension that it has; leave this one out."
            )
        column = blocks.starts[dimension]
        has = np.unique(column)
        if position not in has:
            words = list(map(str, has[:MOST_LISTED].tolist()))
            raise InputError(
                f"input.select is {asked}, but {path!r} has no plane there; along"
                f" {dimension} it has the positions {listed(words, len(has))}. Expected"
                " one of these."
            )
        blocks = blocks.where(column == position)
        starts[dimension], sizes[dimension] = position, 1
    several = sorted(d for d in sizes.keys() - RESOLVED_DIMENSIONS if sizes[d] > 1)
    if several:
        first = several[0]
        last = starts[first] + sizes[first] - 1
        example = json.dumps({d.lower(): starts[d] for d in several})
        raise InputError(
            f"The input {path!r} has {sizes[first]} positions along dimension {first},"
            f" {starts[first]} to {last} (sizes: {size_text(sizes)}). Expected just one"
            " along all but T, C, Z, Y and X: choose it by input.select, such as"
            f" {example}. Each is denoised by itself, in a run of its own."
        )
    return blocks
