"""The progress of a run: its lines, its bar, and its events."""

import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoise_daisy import progress
from denoise_daisy.amounts import duration_range, voxel_rate
from denoise_daisy.errors import InputError, Interrupted, RunStopped
from denoise_daisy.events import end_told
from denoise_daisy.forecast import TimeLeft
from denoise_daisy.progress import Progress, Standing, words_of
from denoise_daisy.scheduling.run_progress import RunProgress
from denoise_daisy.scheduling.workforce import Workforce
from harness.one_start import OneStart
from harness.stand_ins import FakeTime


def standing(**changed: Any) -> Standing:
    values: dict[str, Any] = {
        "share": 0.6,
        "done": {"denoise": 6},
        "blocks": {"denoise": 10},
        "failed": 0,
        "at_work": 2,
        "waits_for": "",
        "voxels_per_second": None,
        "time_left": None,
    }
    return Standing(**(values | changed))


SOME = {"denoise": 10, "soft": 10, "cells": 4, "split": 4, "split.table": 1}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "denoise 6/10 blocks, 2 at work"),
        (
            {"voxels_per_second": 123456.0, "time_left": TimeLeft(least=38, most=95)},
            "denoise 6/10 blocks, 2 at work, 123 kvoxel/s, 38 s to 2 min left",
        ),
        (
            {"waits_for": "3 workers wait", "failed": 1},
            "denoise 6/10 blocks, 2 at work, 3 workers wait, 1 failed",
        ),
        (
            {
                "done": dict.fromkeys(SOME, 0) | {"denoise": 10, "soft": 9},
                "blocks": SOME,
                "time_left": TimeLeft(least=61, most=None, not_known=("split",)),
            },
            "soft 9/10, cells 0/4, split 0/4 blocks, and 1 more stage, 2 at work,"
            " at least 61 s left (no block of split done yet)",
        ),
        (
            {"done": {"denoise": 10}},
            "denoise 10/10 blocks, 2 at work",
        ),
    ],
)
def test_a_line_names_the_stages_that_are_not_done(
    changed: dict[str, Any], words: str
) -> None:
    assert words_of(standing(**changed)) == words


def test_of_many_images_these_are_counted() -> None:
    images = standing(done={"images": 3}, blocks={"images": 8})
    assert words_of(images, "images") == "3/8 images, 2 at work"


@given(st.floats(1e-9, 1e12))
def test_a_rate_is_never_nought(rate: float) -> None:
    number, unit = voxel_rate(rate).split(" ")
    factor = {"Mvoxel/s": 1e6, "kvoxel/s": 1e3, "voxel/s": 1}[unit]
    assert float(number) * factor == pytest.approx(rate, rel=0.051)


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [
        (10, 20, "10 s to 20 s".replace(" s to", " to")),
        (10, 10.2, "about 10 s"),
        (80, 100, "80 s to 2 min"),
        (600, 700, "10 to 12 min"),
        (5000, 50 * 3600, "83 min to 2.1 days"),
    ],
)
def test_two_spans_are_said_as_one(least: float, most: float, words: str) -> None:
    assert duration_range(least, most) == words


def test_a_log_has_a_line_every_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    time = FakeTime()
    monkeypatch.setattr(progress, "time", time)
    events: list[Any] = []
    shown = Progress(tell=events.append)
    lines = []
    for now in range(400):
        time.now = float(now)
        shown.show(standing(share=now / 1000))
        lines += [(now, line) for line in capsys.readouterr().err.splitlines()]
    times = [now for now, _ in lines]
    assert times[0] == 5
    assert {b - a for a, b in pairwise(times)} == {10, 15}
    assert lines[2][1] == "3% after 30 s: denoise 6/10 blocks, 2 at work"
    assert [event["elapsed_seconds"] for event in events] == [0, *times]


def test_an_event_has_all_that_a_line_is_made_of() -> None:
    events: list[Any] = []
    left = TimeLeft(least=1.5, most=3.0)
    Progress(tell=events.append).show(standing(time_left=left))
    (event,) = events
    assert event.pop("elapsed_seconds") < 5
    assert event == {
        "event": "progress",
        "share": 0.6,
        "done": {"denoise": 6},
        "blocks": {"denoise": 10},
        "failed": 0,
        "at_work": 2,
        "waits_for": "",
        "voxels_per_second": None,
        "time_left": {"least": 1.5, "most": 3.0, "not_known": ()},
    }


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_bar_in_a_terminal_is_where_the_run_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At each update, and no lines below each other; nothing is done before its end."""
    time, terminal = FakeTime(), Terminal()
    monkeypatch.setattr(progress, "time", time)
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = Progress()
    shares = ((10.0, 0.6, " 60%"), (20.0, 0.997, " 99%"), (30.0, 1.0, "100%"))
    for now, share, percent in shares:
        time.now = now
        terminal.truncate(0)
        shown.show(standing(share=share))
        said = terminal.getvalue()
        assert f"{percent}|" in said
        assert "| denoise 6/10 blocks, 2 at work [" in said
        assert "\n" not in said
    shown.close()


# That of a run, whose clock is our own.


@pytest.fixture
def run_of_two(start: Callable[..., OneStart]) -> OneStart:
    return start("denoise", "slow")


def shown_by(
    it: OneStart,
    monkeypatch: pytest.MonkeyPatch,
    workforce: Workforce | None = None,
) -> Callable[[], Standing]:
    """What is shown of a run, now."""
    seen: list[Standing] = []
    monkeypatch.setattr(Progress, "show", lambda _, where: seen.append(where))
    shown = RunProgress(it.states, [it.pool])
    crew = workforce or Workforce([it.pool], it.run_dir, it.states)

    def show() -> Standing:
        it.read_ledgers()
        for state in it.states.values():
            state.update()
        shown.show(crew)
        return seen[-1]

    return show


def test_a_slow_function_behind_a_quick_denoising_is_not_nearly_done(
    run_of_two: OneStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 blocks of a second and 40 of a minute; by count half would be done."""
    it, show = run_of_two, shown_by(run_of_two, monkeypatch)
    slow = it.states["slow"]
    slow.stage = replace(slow.stage, is_users=True)
    assert show().time_left is None
    it.say("denoise", "done", *range(40), seconds=1)
    left = show().time_left
    assert left is not None
    assert left.most is None
    assert left.not_known == ("slow",)
    it.say("slow", "done", 0, 1, seconds=60)
    it.time.now = 80
    said = show()
    assert said.share == pytest.approx((40 + 120) / (40 + 2400))
    assert said.time_left is not None
    assert said.time_left.most is not None
    # 38 minutes of blocks are left to two workers.
    assert said.time_left.least < 19 * 60 < said.time_left.most
    assert said.time_left.least > 5 * 60


def test_what_earlier_starts_took_is_a_guess_until_a_block_of_this_one_is_done(
    run_of_two: OneStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty blocks of 3 s are left to two workers: 30 s."""
    it, show = run_of_two, shown_by(run_of_two, monkeypatch)
    slow = it.states["slow"]
    slow.stage = replace(slow.stage, is_users=True)
    it.say("denoise", "done", *range(40), seconds=0.1)
    it.say("slow", "done", *range(20), seconds=3)
    it.read_ledgers()
    for state in it.states.values():
        state.ledger.begin(2)
        state.ledger.reread()
    said = show()
    assert said.time_left is not None
    assert said.time_left.most is not None
    assert 5 < said.time_left.least < 30 < said.time_left.most < 300
    # Of 4 s of denoising and 120 s of the function.
    assert said.share == pytest.approx((4 + 60) / 124)
    it.say("slow", "done", 20, 21, seconds=60)
    # Only new work counts: 18 blocks of a minute to two workers.
    left = show().time_left
    assert left is not None
    assert left.most is not None
    assert 3 * 60 < left.least < 9 * 60 < left.most


def test_blocks_at_work_tell_what_a_stage_takes_at_least(
    run_of_two: OneStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of forty blocks have been at work for 10 s, by this process's clock."""
    it = run_of_two
    slow = it.states["slow"]
    slow.stage = replace(slow.stage, is_users=True)
    workforce = Workforce([it.pool], it.run_dir, it.states)
    show = shown_by(it, monkeypatch, workforce)
    it.say("denoise", "done", *range(40), seconds=0.1)
    it.read_ledgers()
    for now in (5.0, 15.0):
        it.time.now = now
        for number, name in enumerate(("v", "w")):
            it.show(name, number, stage="slow")
        workforce.maintain()
    said = show()
    assert said.at_work == 2
    assert said.time_left is not None
    assert said.time_left.most is None
    assert said.time_left.not_known == ("slow",)
    # 38 blocks wait for two workers.
    assert 60 < said.time_left.least < 190
    assert said.share == pytest.approx(4 / (4 + 400))


def test_the_rate_is_that_of_the_denoising_while_it_goes_on(
    run_of_two: OneStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, show = run_of_two, shown_by(run_of_two, monkeypatch)
    voxels = it.states["denoise"].stage.grid.voxels_written
    it.time.now = 10
    assert not show().voxels_per_second
    # How long it took workers to begin does not count.
    it.say("denoise", "done", 0, 1, seconds=1)
    assert show().voxels_per_second == pytest.approx(voxels / 20 / 1)
    it.time.now = 19
    it.say("denoise", "done", *range(2, 40), seconds=1)
    show()
    it.time.now = 500
    assert show().voxels_per_second == pytest.approx(voxels / 10)


def test_workers_that_spend_time_between_blocks_are_reckoned_with(
    run_of_two: OneStart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers do a block of a second in four each; so 20 more take 40 s."""
    it, show = run_of_two, shown_by(run_of_two, monkeypatch)
    it.states["slow"].abandon("no use")
    for block in range(0, 20, 2):
        it.time.now += 4
        it.say("denoise", "done", block, block + 1, seconds=1)
        left = show().time_left
    assert left is not None
    assert left.most is not None
    assert left.least < 40 < left.most


# Events.


def told(tell: list[Any], *events: str, error: Exception | None = None) -> list[str]:
    """Kinds of events, of a run that tells some and ends so."""
    with end_told(tell.append) as also:
        assert also is not None
        for event in events:
            also({"event": event})
        if error is not None:
            raise error
    return [event["event"] for event in tell]


def test_the_last_event_of_a_run_is_its_end() -> None:
    assert told([], "message", "done") == ["message", "done"]
    assert told([], "done", "message") == ["message", "done"]
    assert told([], "message") == ["message", "done"]
    assert told([]) == ["done"]


@pytest.mark.parametrize(
    ("events", "error", "expected"),
    [
        ((), InputError("no"), ["refused"]),
        (("message",), RunStopped("full"), ["message", "stopped"]),
        (("stopped", "message"), Interrupted("stop", 2), ["message", "stopped"]),
        ((), RuntimeError("a bug"), ["stopped"]),
    ],
)
def test_so_it_is_of_one_that_fails(
    events: tuple[str, ...], error: Exception, expected: list[str]
) -> None:
    seen: list[Any] = []
    with pytest.raises(type(error), match=re.escape(str(error))):
        told(seen, *events, error=error)
    assert [event["event"] for event in seen] == expected
    if expected == ["refused"]:
        assert seen == [{"event": "refused", "message": "no", "exit_code": 2}]


def test_a_listener_that_fails_is_nothing_to_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: object) -> None:
        raise FileNotFoundError("the socket is gone")

    with end_told(fail) as tell:
        assert tell is not None
        tell({"event": "progress"})
    assert caplog.text.count("An event could not be told.") == 2


def test_without_a_listener_nobody_is_told() -> None:
    with end_told(None) as tell:
        assert tell is None
