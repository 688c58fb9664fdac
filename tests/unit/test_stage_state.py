"""Which blocks wait for which, and what a failed one costs: against brute force.

The oracle looks at every pair of blocks and intersects their Rois, in voxels of the
image.  A green run would mean nothing if every block read every other, or none: grids
are checked to have both.
"""

from pathlib import Path

import numpy as np
from funlib.geometry import Coordinate, Roi
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.blockwise.targets import FilePerBlock
from denoise_daisy.geometry import (
    FULL_RESOLUTION,
    BlockGrid,
    Index,
    LevelTransform,
    block_ranges,
    count_in,
    neighbourhood,
)
from denoise_daisy.run_dir.checksums import Checksums
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.scheduling.stage_state import StageState, Verdict
from harness.ledgers import say
from harness.properties import examples

ONE = Coordinate(1, 1, 1, 1)


def grid_of(volume: Roi, block: Coordinate, reach: Coordinate) -> BlockGrid:
    return BlockGrid(volume, volume, block, reach, neighbourhood(reach))


@st.composite
def levels(
    draw: st.DrawFn,
) -> tuple[BlockGrid, LevelTransform, BlockGrid, LevelTransform]:
    """A grid of a level, and one of the same volume at another level."""
    shape = Coordinate(*(draw(st.integers(1, n)) for n in (3, 9, 12, 12)))
    origin = Coordinate(*(draw(st.integers(0, n)) for n in (2, 5, 5, 5)))
    result: list[BlockGrid | LevelTransform] = []
    for _ in range(2):
        factor = Coordinate(1, *(draw(st.sampled_from((1, 2, 4))) for _ in range(3)))
        volume, transform = Roi(origin, shape), FULL_RESOLUTION
        if factor != ONE:
            transform = LevelTransform(factor, origin)
            volume = transform.from_image(volume)
        block = Coordinate(*(draw(st.integers(1, 5)) for _ in range(4)))
        reach = Coordinate(*(draw(st.integers(0, 3)) for _ in range(4)))
        result += [grid_of(volume, block, reach), transform]
    return tuple(result)  # type: ignore[return-value]


@examples(60)
@given(levels(), st.integers(0, 2**32 - 1))
def test_block_ranges_hold_just_the_blocks_that_are_read(
    case: tuple[BlockGrid, LevelTransform, BlockGrid, LevelTransform], seed: int
) -> None:
    reader, reader_transform, writer, writer_transform = case
    ranges = block_ranges(reader, reader_transform, writer, writer_transform)
    mask = np.random.default_rng(seed).random(writer.shape) < 0.3
    counts = count_in(mask, ranges)
    assert counts.shape == reader.shape
    for i, index in enumerate(reader.indices()):
        if i % 7:
            continue
        read = reader_transform.to_image(reader.read_roi(index))
        expected = {
            other
            for other in writer.indices()
            if writer_transform.to_image(writer.write_roi(other)).intersects(read)
        }
        cut = [
            slice(int(a[n]), int(b[n])) for n, (a, b) in zip(index, ranges, strict=True)
        ]
        found = np.zeros(writer.shape, bool)
        found[tuple(cut)] = True
        assert {tuple(map(int, p)) for p in np.argwhere(found)} == expected
        assert counts[index] == sum(bool(mask[other]) for other in expected)


@examples(100)
@given(levels())
def test_a_roi_goes_to_the_image_and_back(
    case: tuple[BlockGrid, LevelTransform, BlockGrid, LevelTransform],
) -> None:
    grid, transform, _, other = case
    for index in grid.indices():
        roi = grid.write_roi(index)
        assert transform.from_image(transform.to_image(roi)) == roi
        assert other.to_image(transform.convert(roi, other)).contains(
            transform.to_image(roi)
        )


def stage_of(name: str, after: tuple[str, ...], reach: int) -> Stage:
    """Eight blocks in a row."""
    volume = Roi((0, 0, 0, 0), (1, 1, 1, 16))
    return Stage(
        name=name,
        task=name,
        grid=grid_of(volume, Coordinate(1, 1, 1, 2), Coordinate(0, 0, 0, reach)),
        sources=(),
        after=after,
        compute=lambda _: b"",
        parameters={},
        target=FilePerBlock(Path(name), Checksums(Path(name), "run", [1], [1])),
    )


class Chain:
    """Three stages, each reading the one before with a context of one voxel."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = RunDir(folder)
        self.run_dir.make(["a", "b", "c"])
        self.states: dict[str, StageState] = {}
        for name, after in (("a", ()), ("b", ("a",)), ("c", ("b",))):
            stage = stage_of(name, after, reach=1 if after else 0)
            ledger = Ledger(
                self.run_dir.ledger(name), "run", stage.grid, stage.file_shape
            )
            ledger.begin(1)
            self.states[name] = StageState(
                stage,
                ledger,
                retries=1,
                upstream=[self.states[n] for n in after],
            )

    def say(self, stage: str, status: str, *blocks: int) -> None:
        say(self.states[stage].ledger, status, *blocks)

    def update(self) -> None:
        for state in self.states.values():
            state.ledger.refresh()
            state.update()

    def unreachable(self, stage: str) -> set[int]:
        return set(np.flatnonzero(self.states[stage].unreachable).tolist())


def at(x: int) -> Index:
    return (0, 0, 0, x)


def test_a_block_is_ready_once_all_that_it_reads_is_done(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    assert [s.ready for s in chain.states.values()] == [8, 0, 0]
    chain.say("a", "done", 0, 1, 2, 3)
    chain.update()
    assert [s.ready for s in chain.states.values()] == [4, 3, 0]
    chain.say("b", "done", 0, 1)
    chain.update()
    assert [s.ready for s in chain.states.values()] == [4, 1, 1]
    assert chain.states["c"].verdict(at(0)) is Verdict.HAND_OUT
    # Its line may show late, and late lines are waited for by who reads.
    assert chain.states["c"].verdict(at(1)) is Verdict.HAND_OUT


def test_what_was_not_read_yet_is_read_before_a_block_has_to_wait(
    tmp_path: Path,
) -> None:
    chain = Chain(tmp_path)
    chain.say("a", "done", 0, 1)
    assert chain.states["b"].verdict(at(0)) is Verdict.HAND_OUT


def test_a_block_that_is_given_up_orphans_just_what_depends_on_it(
    tmp_path: Path,
) -> None:
    chain = Chain(tmp_path)
    chain.say("a", "failed", 4)
    chain.update()
    assert (
        chain.unreachable("a")
        == chain.unreachable("b")
        == chain.unreachable("c")
        == set()
    )
    chain.say("a", "failed", 4)
    chain.update()
    assert chain.unreachable("a") == {4}
    assert chain.unreachable("b") == {3, 4, 5}
    assert chain.unreachable("c") == {2, 3, 4, 5, 6}
    assert [s.orphans for s in chain.states.values()] == [0, 3, 5]
    assert chain.states["c"].verdict(at(2)) is Verdict.FINISHED
    chain.say("a", "done", 4)
    chain.update()
    assert (
        chain.unreachable("a")
        == chain.unreachable("b")
        == chain.unreachable("c")
        == set()
    )


def test_what_is_done_is_not_lost_by_what_it_once_read(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.say("b", "done", 3)
    chain.say("a", "failed", 4, 4)
    chain.update()
    assert chain.unreachable("b") == {4, 5}
    assert chain.unreachable("c") == {3, 4, 5, 6}


def test_an_abandoned_stage_costs_itself_and_what_reads_it(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.say("a", "done", *range(8))
    chain.say("b", "done", 0)
    chain.update()
    chain.states["b"].trial = np.array([2, 5])
    chain.states["b"].abandon("no use")
    assert chain.states["b"].trial is None
    assert [s.left for s in chain.states.values()] == [0, 0, 0]
    assert [s.orphans for s in chain.states.values()] == [0, 7, 8]
    assert chain.states["b"].verdict(at(5)) is Verdict.FINISHED


def test_of_a_stage_on_trial_only_the_trial_is_ready(tmp_path: Path) -> None:
    """Else more workers were started, and asked, than there is work for."""
    chain = Chain(tmp_path)
    chain.say("a", "done", 1, 2)
    chain.states["a"].trial = np.array([2, 5, 7])
    chain.update()
    assert chain.states["a"].ready == 2
    chain.states["a"].trial = None
    chain.update()
    assert chain.states["a"].ready == 6
