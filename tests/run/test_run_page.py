"""The page of a real run: while it goes on, when it is stopped, and at its end."""

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from harness.browser import axe_violations, overflow, shown
from harness.trials import Trial
from harness.waiting import PATIENCE, short_waits, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WAITS = short_waits(page=1, last_page=PATIENCE, last_page_stopped=PATIENCE)


def page_of(trial: Trial) -> Path:
    return trial.run_dir / "status.html"


def text_of(trial: Trial) -> str:
    place = page_of(trial)
    return place.read_text("utf-8") if place.exists() else ""


def states(trial: Trial) -> dict[str, int]:
    """Blocks by state, as the page tells of them in numbers."""
    row = re.search(r'<tr><th scope="row">z 0</th>(.*?)</tr>', text_of(trial), re.S)
    names = ("done", "running", "left", "failed", "orphaned")
    counts = re.findall(r">(\d+)</td>", row[1]) if row else []
    return dict(zip(names, map(int, counts), strict=False))


def test_a_run_can_be_looked_at_while_it_goes_on_and_at_its_end(
    chromium: "Browser", trial: Trial
) -> None:
    with trial.held(free=5, env=WAITS) as scheduler:
        wait_until(
            lambda: states(trial).get("running") == 2 and states(trial), "two run"
        )
        place = page_of(trial)
        with shown(chromium, place, width=360, dark=True) as seen:
            assert "running" in seen.page.title()
            assert axe_violations(seen.page) == []
            assert overflow(seen.page) == 0
            assert seen.requests == [place.as_uri()]
            workers = seen.page.get_by_role("region", name="Table of workers")
            assert workers.locator("tbody tr").count() == 2
        trial.hook.set()
        said, errors = scheduler.communicate(timeout=PATIENCE)
    assert scheduler.returncode == 0, errors
    assert said.count(f"Page: {place}\n") == 2
    assert states(trial) == dict(zip(states(trial), [12, 0, 0, 0, 0], strict=True))
    assert trial.partials() == []
    with shown(chromium, place) as seen:
        assert seen.page.title() == "100 % done: out.zarr"
        assert axe_violations(seen.page) == []
        assert seen.page.locator("section[aria-labelledby=slices] img").count() == 9
        assert seen.page.locator("section[aria-labelledby=time] img").count() == 3
    assert "can't be written" not in trial.log()


def test_a_run_that_is_stopped_says_so(trial: Trial) -> None:
    with trial.held("--grace", "0.1", sleep=600, env=WAITS) as scheduler:
        wait_until(lambda: text_of(trial), "there is a page")
        scheduler.send_signal(signal.SIGTERM)
        scheduler.communicate(timeout=PATIENCE)
    assert "Stopped" in text_of(trial)
    assert "12 blocks of 12 are left" in text_of(trial)
    assert f"page: {page_of(trial)}\n" in trial.cli("status", trial.output).stdout
    assert "data-refresh" not in text_of(trial)


def test_a_block_that_fails_is_told_with_its_traceback(trial: Trial) -> None:
    end = trial.cli("run", trial.path, env=WAITS, fail={"4": "exception"})
    assert end.returncode == 3, end.stderr
    text = text_of(trial)
    assert "1 block failed for good; 11 of 12 are done." in text
    assert "ValueError: this block is bad" in text
    assert re.search(r"<pre[^>]*>Traceback \(most recent call last\)", text)


def test_a_page_that_can_t_be_written_is_nothing_to_a_run(trial: Trial) -> None:
    page_of(trial).mkdir(parents=True)
    (page_of(trial) / "in the way").touch()
    end = trial.cli("run", trial.path, env=WAITS)
    assert end.returncode == 0, end.stderr
    assert len(trial.done()) == 12
    assert trial.log().count("status.html can't be written") == 1
