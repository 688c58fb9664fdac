"""Time left: the true end lies in the range, in simulated runs of uneven blocks."""

import heapq
import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from denoise_daisy.forecast import (
    Ahead,
    Hands,
    Pace,
    TimeLeft,
    share_done,
    time_left,
)

MOMENTS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Of a run's time, when it is asked how much is left."""

RUNS = 150


@dataclass
class Simulated:
    """A run of a chain of stages, each with as many blocks.

    A block reads its two neighbours in the stage before, or, behind a barrier, all.
    """

    seconds: list[np.ndarray]
    """Of each block, by stage."""
    barriers: list[bool]
    workers: int

    def ends(self) -> list[tuple[float, int, float, list[int]]]:
        """When each block ended, its stage, what it took, and who was at work then.

        That is, how many blocks of each stage; those of the last are begun first.
        """
        count = len(self.seconds[0])
        done = [np.zeros(count, bool) for _ in self.seconds]
        begun = [0] * len(self.seconds)
        now = 0.0
        at_work: list[tuple[float, int, int]] = []
        ends: list[tuple[float, int, float, list[int]]] = []

        def is_ready(stage: int) -> bool:
            i = begun[stage]
            if i == count or not stage:
                return i < count
            near = slice(None) if self.barriers[stage] else slice(max(0, i - 1), i + 2)
            return bool(done[stage - 1][near].all())

        while True:
            while len(at_work) < self.workers:
                ready = [s for s in range(len(begun)) if is_ready(s)]
                if not ready:
                    break
                stage = ready[-1]
                block = begun[stage]
                begun[stage] += 1
                heapq.heappush(
                    at_work, (now + self.seconds[stage][block], stage, block)
                )
            if not at_work:
                return ends
            now, stage, block = heapq.heappop(at_work)
            done[stage][block] = True
            busy = [sum(s == k for _, s, _ in at_work) for k in range(len(begun))]
            ends.append((now, stage, float(self.seconds[stage][block]), busy))

    def told(self) -> list[tuple[float, TimeLeft | None]]:
        """What was left at each moment, and what was said of it.

        Nothing is said before the first block has ended.
        """
        ends = self.ends()
        said: list[tuple[float, TimeLeft | None]] = []
        paces = [Pace() for _ in self.seconds]
        moments = [share * ends[-1][0] for share in MOMENTS]
        for (now, stage, took, busy), (following, *_) in pairwise(ends):
            paces[stage].add(took)
            for moment in moments:
                if now <= moment < following:
                    left = time_left(
                        self.ahead(paces, busy),
                        {"": Hands(least=self.workers, most=self.workers)},
                    )
                    said.append((ends[-1][0] - moment, left))
        before = MOMENTS[: len(MOMENTS) - len(said)]
        return [((1 - share) * ends[-1][0], None) for share in before] + said

    def ahead(self, paces: list[Pace], busy: list[int]) -> list[Ahead]:
        count = len(self.seconds[0])
        return [
            Ahead(
                name=str(i),
                reads=[str(i - 1)] if i else [],
                pool="",
                left=count - pace.blocks,
                at_work=busy[i],
                done=pace.blocks,
                pace=pace,
                guess=None,
            )
            for i, pace in enumerate(paces)
        ]


def simulated(seed: int, drift: float) -> Simulated:
    """Blocks of random seconds; `drift` is how much they change along the image."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([40, 100, 300]))
    stages = int(rng.integers(1, 5))
    seconds = []
    for stage in range(stages):
        # A task may take a hundredth of the denoising, or several times as long.
        mean = math.exp(rng.normal(-1, 1.5)) if stage else 1.0
        spread = rng.uniform(0.05, 0.9)
        field = np.cumsum(rng.standard_normal(count))
        field = drift * rng.uniform() * (field - field.mean()) / field.std()
        seconds.append(mean * rng.lognormal(field, spread))
    barriers = [stage > 0 and rng.random() < 0.25 for stage in range(stages)]
    return Simulated(seconds, barriers, int(rng.choice([1, 2, 4, 8, 16])))


@cache
def all_told(drift: float) -> list[list[tuple[float, TimeLeft | None]]]:
    return [simulated(seed, drift).told() for seed in range(RUNS)]


def holds(left: float, said: TimeLeft | None) -> bool:
    if said is None:
        return True
    return said.least <= left and (said.most is None or left <= said.most)


@pytest.mark.parametrize("drift", [0.0, 0.5])
def test_the_end_lies_in_the_range_in_nine_of_ten_runs_at_any_moment(
    drift: float,
) -> None:
    for moment in zip(*all_told(drift), strict=True):
        said = [told for told in moment if told[1] is not None]
        assert len(said) > 0.9 * RUNS
        assert np.mean([holds(*told) for told in said]) >= 0.9


def test_where_blocks_do_not_drift_it_lies_there_all_the_time() -> None:
    told = all_told(0.0)
    assert np.mean([all(holds(*t) for t in run) for run in told]) >= 0.9


def test_a_range_is_narrow_enough_to_be_of_use() -> None:
    """In the middle of a run, where every stage was tried."""
    widths = [
        (said.most - said.least) / left
        for run in all_told(0.0)
        for left, said in run[3:5]
        if said is not None and said.most is not None
    ]
    assert np.median(widths) < 1.5
    assert len(widths) > RUNS


def ahead(name: str = "denoise", **changed: object) -> Ahead:
    values: dict[str, object] = {
        "reads": (),
        "pool": "",
        "left": 10,
        "at_work": 0,
        "done": 0,
        "pace": Pace(),
        "guess": None,
    }
    return Ahead(name=name, **(values | changed))  # type: ignore[arg-type]


def paced(*seconds: float) -> Pace:
    pace = Pace()
    for each in seconds:
        pace.add(each)
    return pace


TWO = {"": Hands(least=2, most=2)}


def test_before_the_first_block_nothing_is_known() -> None:
    assert time_left([ahead()], TWO) is None
    assert time_left([ahead(), ahead("soft", guess=1.0)], TWO) is None


def test_a_slow_function_that_was_not_tried_has_no_end_yet() -> None:
    """One second is all that the denoising has left."""
    denoising = ahead(left=2, pace=paced(*[1.0] * 100))
    left = time_left([denoising, ahead("slow", reads=("denoise",))], TWO)
    assert left is not None
    assert left.most is None
    assert left.not_known == ("slow",)
    assert left.least == pytest.approx(1.0, rel=0.1)


def test_it_is_counted_once_it_was_tried() -> None:
    denoising = ahead(left=0, pace=paced(*[0.1] * 100))
    slow = ahead("slow", reads=("denoise",), left=60, pace=paced(30.0, 30.0, 30.0))
    left = time_left([denoising, slow], TWO)
    assert left is not None
    assert left.most is not None
    assert 300 < left.least < 900 < left.most < 3000


def test_a_guess_is_good_for_five_times_as_long_or_as_short() -> None:
    denoising = ahead(left=0, pace=paced(1.0))
    left = time_left([denoising, ahead("soft", left=20, guess=2.0)], TWO)
    assert left == TimeLeft(least=4.0, most=100.0 + 10.0)


def test_what_earlier_starts_took_is_good_for_three_times_as_long_or_short() -> None:
    resumed = ahead(left=20, done=5, guess=100.0, earlier=3.0)
    assert time_left([resumed], TWO) == TimeLeft(least=10.0, most=90.0 + 9.0)
    assert share_done([resumed]) == pytest.approx(5 / 25)
    slower = time_left([replace(resumed, at_work=1, spent=[6.0])], TWO)
    assert slower == TimeLeft(least=9.5, most=180.0 + 18.0)
    begun = replace(resumed, pace=paced(*[9.0] * 400))
    left = time_left([begun], TWO)
    assert left is not None
    assert left.most is not None
    assert 80 < left.least < 90 < left.most < 110


def test_of_what_is_not_known_blocks_at_work_tell_the_least() -> None:
    """Two were at it for 3 s, and ten more wait for two workers."""
    denoising = ahead(left=0, done=12, pace=paced(*[0.1] * 12))
    slow = ahead("slow", reads=("denoise",), left=12, at_work=2, spent=[3.0, 3.0])
    left = time_left([denoising, slow], TWO)
    assert left is not None
    assert (left.most, left.not_known) == (None, ("slow",))
    assert 5 < left.least < 15
    assert share_done([denoising, slow]) == pytest.approx(1.2 / (1.2 + 36))


def test_a_block_that_was_just_begun_tells_nothing() -> None:
    denoising = ahead(left=0, done=12, pace=paced(*[0.1] * 12))
    slow = ahead("slow", left=12, at_work=1, spent=[0.0])
    assert time_left([denoising, slow], TWO) == TimeLeft(
        least=0.0, most=None, not_known=("slow",)
    )
    assert share_done([denoising, slow]) == pytest.approx(0.5)


def test_pools_work_side_by_side_at_best_and_one_after_the_other_at_worst() -> None:
    even = paced(*[1.0] * 1600)
    stages = [ahead(left=100, pace=even), ahead("own", pool="own", left=30, pace=even)]
    left = time_left(stages, {**TWO, "own": Hands(least=1, most=3)})
    assert left is not None
    assert left.most is not None
    assert left.least == pytest.approx(50, rel=0.06)
    assert left.most == pytest.approx(50 + 30, rel=0.1)


def test_what_workers_spend_between_blocks_is_part_of_the_worst() -> None:
    stages = [ahead(left=100, pace=paced(*[1.0] * 1600))]
    left, slower = time_left(stages, TWO), time_left(stages, TWO, idle=0.5)
    assert left is not None
    assert slower is not None
    assert left.most is not None
    assert slower.most == pytest.approx(left.most + 25)
    assert slower.least == left.least


def test_blocks_at_work_may_be_done_in_a_moment() -> None:
    left = time_left([ahead(left=2, at_work=2, pace=paced(1.0, 1.0))], TWO)
    assert left is not None
    assert left.least == 0


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 32, 33, 1000])
def test_a_pace_keeps_all_seconds_in_sixteen_spells_at_most(count: int) -> None:
    seconds = np.random.default_rng(count).exponential(size=count)
    pace = paced(*seconds)
    assert (pace.blocks, pace.longest) == (count, seconds.max())
    assert pace.seconds == pytest.approx(seconds.sum())
    assert len(pace.spells) <= 16
    assert pace.each == max(1, 2 ** math.ceil(math.log2(count / 16)))
    parts = [seconds[i : i + pace.each] for i in range(0, count, pace.each)]
    assert pace.spells == pytest.approx([part.sum() for part in parts])
    at_once = Pace.of(seconds)
    assert at_once.seconds == pytest.approx(pace.seconds)
    assert at_once.spells == pytest.approx(pace.spells)
    assert (at_once.blocks, at_once.each) == (count, pace.each)
    assert at_once.longest == pace.longest


def test_a_pace_of_nothing_is_like_one_at_its_beginning() -> None:
    assert Pace.of(np.empty(0)) == Pace()


def test_the_share_of_work_is_counted_in_the_time_that_blocks_take() -> None:
    """Of 10 s of denoising half is done, and of 90 s of a slow function nothing."""
    denoising = ahead(left=5, done=5, pace=paced(*[1.0] * 5))
    slow = ahead("slow", left=9, pace=paced(), guess=10.0)
    assert share_done([denoising, slow]) == pytest.approx(5 / 100)
    slow = ahead("slow", left=9, done=1, pace=paced(10.0))
    assert share_done([denoising, slow]) == pytest.approx(15 / 110)


def test_what_was_done_before_counts_for_the_share_alone() -> None:
    resumed = ahead(left=10, done=90, pace=paced(2.0))
    assert share_done([resumed]) == pytest.approx(0.9)
    assert share_done([ahead(left=10, done=90)]) == pytest.approx(0.9)
    assert share_done([ahead(left=0, done=7)]) == 1
