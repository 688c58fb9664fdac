"""Maps of blocks, plots of work over time, and the same in numbers."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from denoise_daisy.monitoring.history import History, busy_shares, rows_of, spread
from denoise_daisy.monitoring.page_plots import plots_of
from denoise_daisy.monitoring.planes import counts_by_plane
from denoise_daisy.monitoring.values import DONE, FAILED, LEFT, ORPHANED, RUNNING
from denoise_daisy.reports.block_map import COLOURS, BlockMap, block_map


def pixels(drawn: BlockMap) -> np.ndarray:
    data = base64.b64decode(drawn.uri.partition(",")[2])
    found = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert found.shape[:2] == (drawn.height, drawn.width)
    return found


def rgb(state: int) -> list[int]:
    return [int(COLOURS[state][i : i + 2], 16) for i in (1, 3, 5)]


def test_each_block_is_a_square_of_its_state() -> None:
    states = np.array([DONE, RUNNING, LEFT, FAILED, ORPHANED, DONE], np.uint8)
    drawn = block_map(states, (1, 1, 2, 3), 300)
    found = pixels(drawn)
    cell = drawn.width // 4
    middle = found[cell // 2 :: cell, cell // 2 :: cell][:2, :3, :3].reshape(6, 3)
    assert middle.tolist() == [rgb(state) for state in states]
    assert drawn.rows == ()
    assert drawn.merged == 1


@pytest.mark.parametrize(
    ("grid", "rows"),
    [
        ((3, 2, 4, 4), ("t 0", "t 1", "t 2")),
        ((40, 1, 1, 400), tuple(f"t {i}" for i in range(40))),
        ((2, 3, 1, 200), tuple(f"t {t}, z {z}" for t in (0, 1) for z in (0, 1, 2))),
    ],
)
def test_rows_of_tiles_have_names(grid: tuple[int, ...], rows: tuple[str, ...]) -> None:
    states = np.zeros(int(np.prod(grid)), np.uint8)
    assert block_map(states, grid, 300).rows == rows


@pytest.mark.parametrize(
    "grid", [(1, 1, 3000, 900), (1000, 100, 1, 1), (50, 20, 10, 10), (1, 1, 40, 3000)]
)
def test_a_failed_block_of_very_many_is_seen(grid: tuple[int, ...]) -> None:
    states = np.full(int(np.prod(grid)), DONE, np.uint8)
    states[states.size // 3] = FAILED
    drawn = block_map(states, grid, 296)
    assert drawn.width <= 300
    assert drawn.height <= 1300
    assert (pixels(drawn)[..., :3] == rgb(FAILED)).all(axis=-1).any()


def test_the_same_is_told_in_numbers() -> None:
    states = np.zeros((2, 3, 2, 2), np.uint8)
    states[0] = DONE
    states[1, 2, 0] = FAILED, RUNNING
    (table,) = counts_by_plane(states.ravel(), states.shape)
    told = dict(table.rows)
    assert told["t 0, z 1"] == (4, 0, 0, 0, 0)
    assert told["t 1, z 2"] == (0, 1, 2, 1, 0)
    many = np.full((70, 70, 2, 1), DONE, np.uint8)
    along_t, along_z = counts_by_plane(many.ravel(), many.shape)
    assert (along_t.along, along_z.along) == ("t", "z")
    assert along_t.rows[0] == ("t 0-1", (280, 0, 0, 0, 0))
    assert sum(counts[0] for _, counts in along_z.rows) == many.size


def test_what_was_done_is_spread_over_the_time_it_took() -> None:
    ended = np.array([10.0, 20.0, 20.0])
    seconds = np.array([10.0, 10.0, 5.0])
    rows = rows_of(ended, seconds, np.array([100.0, 50, 10]), np.array([0, 0, 1]))
    edges = np.array([0.0, 5, 10, 15, 20])
    np.testing.assert_allclose(spread(edges, rows, "voxels"), [50, 50, 25, 35])
    found = History(rows, ("a", "b"))
    assert (found.begin, found.end) == (0.0, 20.0)
    shares = busy_shares(edges, found, 10)
    np.testing.assert_allclose(shares, [[1, 1, 1, 1], [0, 0, 0, 1]])
    np.testing.assert_allclose(busy_shares(edges, found, 1), [[0.5, 0.5, 0.5, 1]])


def test_no_time_is_lost_to_rounding_among_a_hundred_thousand_blocks() -> None:
    random = np.random.default_rng(3)
    ended = 1.8e9 + np.sort(random.uniform(0, 2e6, 100_000))
    seconds = random.uniform(1, 100, ended.size)
    worker = np.arange(ended.size) % 50
    rows = rows_of(ended, seconds, np.full(ended.size, 4e6), worker)
    edges = np.linspace((ended - seconds).min(), ended.max(), 121)
    total = spread(edges, rows, "voxels").sum()
    assert total == pytest.approx(4e6 * ended.size, rel=1e-6)


def test_where_nothing_was_done_the_speed_is_nought_and_nothing_else() -> None:
    """Denoised for a third of the time; a task went on to the end."""
    ended = 1.8e9 + np.array([1.1, 2.3, 3.7, 10.0])
    seconds = np.array([1.1, 1.2, 1.4, 6.3])
    voxels = np.array([1e6, 3e6, 7e6, 0])
    rows = rows_of(ended, seconds, voxels, np.zeros(4, int))
    edges = np.linspace(1.8e9, 1.8e9 + 10, 121)
    assert not spread(edges, rows, "voxels")[46:].any()
    plots = plots_of(History(rows, ("a",)), None)
    assert plots[0].words.startswith(
        "1.1 on average over the 10 s shown, 0 in the last"
    )


def test_a_worker_is_there_from_its_first_block_to_its_last() -> None:
    """One that came late, or a name of an earlier start, was not idle before."""
    ended = np.array([100.0, 200, 1000, 1000])
    seconds = np.array([100.0, 50, 100, 50])
    rows = rows_of(ended, seconds, np.zeros(4), np.array([0, 0, 2, 2]))
    found = History(rows, ("a", "of an earlier start", "late"))
    assert found.times_there().tolist() == [200, 100]
    words = plots_of(found, None)[-1].words
    assert words.startswith("2 workers were at blocks for ")
    # 300 of 300 seconds, the last worker having done two at once.
    assert "100% of the time from the first block of each to its last" in words
    rows["seconds"][1] = 20
    words = plots_of(found, None)[-1].words
    assert "90% of the time" in words
