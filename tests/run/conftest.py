"""Fixtures of the tests that run the real program."""

from pathlib import Path

import pytest
from demo_czi import write_czi

from denoise_daisy.assessing.values import Report
from harness.chains import Chain
from harness.reported import Reported, finished_in
from harness.shared import once
from harness.trials import Trial, marked_image
from harness.two_versions import both_runs


@pytest.fixture(scope="session")
def marked_czi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of twelve blocks; not to be changed."""
    return write_czi(tmp_path_factory.mktemp("source") / "in.czi", marked_image())


@pytest.fixture
def trial(tmp_path: Path, marked_czi: Path) -> Trial:
    """A run of twelve blocks, before its first start."""
    return Trial(tmp_path / "trial", marked_czi)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, marked_czi: Path) -> Trial:
    """A run to its end, for `finished` to copy; not to be changed."""

    def make(folder: Path) -> Trial:
        trial = Trial(folder / "trial", marked_czi)
        end = trial.run()
        assert end.returncode == 0, end.stderr
        return trial

    return once(tmp_path_factory, "finished-trial", make)


@pytest.fixture
def finished(tmp_path: Path, finished_run: Trial) -> Trial:
    """A run of twelve blocks that has come to its end."""
    return finished_run.copy_to(tmp_path / "trial")


@pytest.fixture(scope="session")
def finished_chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A chain that nothing has disturbed; not to be changed."""

    def make(folder: Path) -> Chain:
        chain = Chain(folder / "chain")
        end = chain.run()
        assert end.returncode == 0, end.stderr
        return chain

    return once(tmp_path_factory, "finished-chain", make)


@pytest.fixture(scope="session")
def one_report(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Reported, Report]:
    """A finished run and its report, not to be changed."""

    def make_it(folder: Path) -> tuple[Reported, Report]:
        run = finished_in(folder)
        return run, run.report()

    return once(tmp_path_factory, "one-report", make_it)


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same finished run in 0.5 and in 0.4, not to be changed."""
    return once(tmp_path_factory, "ome_04", both_runs)
