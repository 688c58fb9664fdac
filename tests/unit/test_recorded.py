"""A run directory and an output are held to be of one run before either is believed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from denoise_daisy import run
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.ome_groups import own_attributes
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir, find
from denoise_daisy.runs.verify import verify
from denoise_daisy.scheduling.scheduler import Scheduler
from harness import config_for, load, small_czi
from harness.looking import status


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Begins a run, or goes on with it, and does no block of it; its output."""
    monkeypatch.setattr(Scheduler, "run", lambda _: None)
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 16, 16))

    def begin_it(name: str, *, overwrite: bool = False) -> Path:
        config = load(config_for(source, tmp_path / name))
        run(config, say=lambda _: None, overwrite=overwrite)
        return tmp_path / name

    return begin_it


def test_an_output_names_its_run(begin: Callable[..., Path]) -> None:
    output = begin("out.zarr")
    own = own_attributes(output)
    assert own is not None
    assert own["run"] == RunRecord.of(find(output)).id
    assert own["version"]


@pytest.mark.parametrize("look", [status, verify])
def test_without_its_output_nothing_is_said_of_a_run(
    begin: Callable[..., Path], look: Callable[[RunDir], str]
) -> None:
    output = begin("out.zarr")
    run_dir = find(output)
    output.rename(output.with_name("moved.zarr"))
    with pytest.raises(RefusedError, match=r"out.zarr' is not there") as refused:
        look(run_dir)
    assert refused.value.exit_code == 4


def test_an_output_beside_the_run_directory_of_another_is_refused(
    begin: Callable[..., Path],
) -> None:
    """By all who would believe it; --overwrite is how to be rid of it."""
    first, second = begin("a.zarr"), begin("b.zarr")
    ids = [RunRecord.of(find(output)).id for output in (first, second)]
    first.rename(first.with_name("elsewhere.zarr"))
    second.rename(first)
    words = rf"made by the run '{ids[1]}'.*'a.zarr.run'.* of the run '{ids[0]}'"
    for look in (status, verify):
        with pytest.raises(RefusedError, match=words):
            look(find(first))
    with pytest.raises(RefusedError, match=words):
        begin("a.zarr")
    begin("a.zarr", overwrite=True)
    assert "denoise: 0 done" in status(find(first))
