"""Many images: how many are prepared at a time, and what a signal leaves as it is."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_daisy.errors import Interrupted
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.many import MOST_PREPARED, _ManyRuns, _prepared
from denoise_daisy.runs.many_table import Outcome
from denoise_daisy.runs.run_one import Asked
from denoise_daisy.scheduling.crew import Crew


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[_ManyRuns]:
    """As many images as are prepared at a time, each in a thread that goes on."""
    hub = RunDir(tmp_path / "all.run")
    hub.make([])
    images: list[Any] = [
        SimpleNamespace(name=name, output=tmp_path / f"{name}.zarr")
        for name in map(str, range(MOST_PREPARED))
    ]
    config: Any = None
    runs = _ManyRuns(config, images, hub, Asked(), lambda _: None)
    runs.crew = Crew(hub, "an id")
    runs.outcomes += map(Outcome, images)
    goes_on = threading.Event()
    for _ in images:
        runs.threads.append(threading.Thread(target=goes_on.wait, args=[60]))
        runs.threads[-1].start()
    yield runs
    goes_on.set()
    for thread in runs.threads:
        thread.join()


def test_what_waits_for_its_last_page_is_not_being_prepared(runs: _ManyRuns) -> None:
    assert (_prepared(runs), runs._wants_another()) == (2, False)
    first, second = (RunDir.of_output(image.output) for image in runs.images)
    for run_dir in (first, second):
        run_dir.make([])
    with runs.crew.joined(first, (), {}):
        assert (_prepared(runs), runs._wants_another()) == (1, True)
    with runs.crew.joined(second, (), {}):
        pass
    assert (_prepared(runs), runs._wants_another()) == (0, True)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_signal_after_the_last_block_leaves_the_end_as_it_is(
    runs: _ManyRuns, is_stopped: bool
) -> None:
    runs.threads.clear()
    runs.signals._taken.append(15)
    for outcome in runs.outcomes:
        outcome.end(None)
    if is_stopped:
        runs.outcomes[-1].end(Interrupted("Stopped by SIGTERM", 15))
        with pytest.raises(Interrupted):
            runs._end()
    else:
        runs._end()
