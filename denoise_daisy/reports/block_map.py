"""The grid of a stage's blocks as a picture: a tile per (t, z), a cell per block."""

import math
from dataclasses import dataclass

import numpy as np

from denoise_daisy.reports.figures import coloured

GREY, YELLOW, BLUE, RED, PINK = "#8b949e59", "#e3b300", "#2f81c7", "#d9430d", "#c267a0"
"""Left, running, done, failed, orphaned: told apart by the colour-blind, too, and
seen on white and on black."""

COLOURS = (GREY, YELLOW, BLUE, RED, PINK)

SEVERITY = np.array([2, 3, 0, 5, 4], np.uint8)
"""Of each state: of several blocks in one cell, that of the highest is shown."""

EMPTY = 255

HIGHEST = 2
"""A picture is at most so many times as high as it may be wide."""

MOST_CELL, LEAST_LINED = 22, 5
"""Pixels of a cell at most; from how many on there is a line between cells."""


@dataclass(frozen=True, slots=True)
class BlockMap:
    """A picture of all blocks of a stage."""

    uri: str
    width: int
    height: int
    """In pixels."""
    rows: tuple[str, ...]
    """What each row of tiles shows; the rows are of equal height."""
    merged: int
    """A cell stands for so many blocks along y and along x."""


def block_map(states: np.ndarray, grid: tuple[int, ...], width: int) -> BlockMap:
    """All blocks of a stage by state, in a picture of at most so many pixels across.

    `states` are by flat index; `grid` is the number of blocks along ``(t, z, y, x)``.
    """
    t, z, y, x = grid
    tiles = states.reshape(t * z, y, x)
    highest = HIGHEST * width
    merged = max(1, math.ceil(x / width), math.ceil(y / highest))
    if merged > 1:
        tiles = _merged(tiles, merged)
    _, y, x = tiles.shape
    columns = _columns(grid, x, y, width)
    gap = 0 if x * y == 1 else 1
    # Each time point begins a row of its own, where there are several along z.
    groups = tiles.reshape(t, z, y, x) if t > 1 and z > 1 else tiles[None]
    cells = np.concatenate([_laid_out(group, columns, gap) for group in groups])
    fits = min(width // cells.shape[1], highest // cells.shape[0])
    size = max(1, min(MOST_CELL, fits))
    drawn = _enlarged(cells, size)
    height, across = drawn.shape
    uri = coloured(drawn, COLOURS)
    return BlockMap(uri, across, height, _names(grid, columns), merged)


def _merged(tiles: np.ndarray, n: int) -> np.ndarray:
    """Each n x n blocks as one, in the state that matters most."""
    rank = SEVERITY[tiles]
    for axis in (1, 2):
        starts = np.arange(0, rank.shape[axis], n)
        rank = np.maximum.reduceat(rank, starts, axis=axis)
    by_rank = np.zeros(SEVERITY.max() + 1, np.uint8)
    by_rank[SEVERITY] = np.arange(SEVERITY.size)
    worst: np.ndarray = by_rank[rank]
    return worst


def _columns(grid: tuple[int, ...], x: int, y: int, width: int) -> int:
    """How many tiles stand side by side: all of a t, if there is room for them."""
    t, z = grid[:2]
    gap = 0 if x * y == 1 else 1
    room = max(1, (width + gap) // (x + gap))
    if t > 1 and z > 1:
        return min(z, room)
    # About as wide as high, where cells are large enough to be seen.
    square = math.ceil(math.sqrt(t * z * y / x) * 1.6)
    return max(1, min(t * z, room, max(square, width // (12 * (x + gap)))))


def _laid_out(tiles: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """The tiles in rows, with so many empty cells between them."""
    n, y, x = tiles.shape
    rows = math.ceil(n / columns)
    out = np.full((rows, y + gap, columns, x + gap), EMPTY, np.uint8)
    padded = np.full((rows * columns, y, x), EMPTY, np.uint8)
    padded[:n] = tiles
    shaped = padded.reshape(rows, columns, y, x).transpose(0, 2, 1, 3)
    out[:, :y, :, :x] = shaped
    return out.reshape(rows * (y + gap), columns * (x + gap))


def _enlarged(cells: np.ndarray, size: int) -> np.ndarray:
    """Each cell as a square of pixels, with a line around it where there is room."""
    drawn = np.repeat(np.repeat(cells, size, axis=0), size, axis=1)
    if size >= LEAST_LINED:
        drawn[size - 1 :: size] = EMPTY
        drawn[:, size - 1 :: size] = EMPTY
    return drawn


def _names(grid: tuple[int, ...], columns: int) -> tuple[str, ...]:
    """What each row of tiles shows; nothing where there is but one tile."""
    t, z = grid[:2]
    if t * z == 1:
        return ()
    names = []
    if t > 1 and z > 1:
        per = math.ceil(z / columns)
        for time in range(t):
            for row in range(per):
                end = min(z, (row + 1) * columns)
                planes = "" if per == 1 else f", z {span(row * columns, end)}"
                names.append(f"t {time}{planes}")
        return tuple(names)
    axis, n = ("t", t) if t > 1 else ("z", z)
    starts = range(0, n, columns)
    return tuple(f"{axis} {span(i, min(n, i + columns))}" for i in starts)


def span(begin: int, end: int) -> str:
    """Numbers from `begin` to before `end`: 3, or 3-5."""
    return f"{begin}" if end - begin == 1 else f"{begin}-{end - 1}"
