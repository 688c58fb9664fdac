"""Fixtures of all tests."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from denoise_daisy.runs import report_at_end
from denoise_daisy.waits import WAITS
from harness import REAL_DATA
from harness.frames import Frames
from harness.pools import Pools

# A loaded machine says nothing of what is tested.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("patient"), max_examples=20)
settings.load_profile("patient")

pytest_plugins = ["unexpected_skips", "harness.browser"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--disturbances",
        type=int,
        default=5,
        metavar="N",
        help="how many random disturbances test_disturbances.py plays (default 5)",
    )
    parser.addoption(
        "--partition",
        type=float,
        default=3,
        metavar="SECONDS",
        help="for how long test_network.py cuts a wire (default 3)",
    )


@pytest.fixture(autouse=True, scope="session")
def no_report() -> Iterator[None]:
    """Runs in the tests' own process make no report at their end, as short waits say.

    For others see `SHORT_WAITS`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_at_end, "WAITS", replace(WAITS, report=0.1))
        yield


@pytest.fixture
def real_czi() -> Callable[[str], Path]:
    """A real CZI file by name; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.is_file():
            pytest.skip(f"{name} is not in {REAL_DATA} (DENOISE_DAISY_REAL_DATA)")
        return path

    return find


@pytest.fixture
def frames(tmp_path: Path) -> Iterator[Callable[..., Frames]]:
    """Makes a run of frames."""
    with contextlib.ExitStack() as stack:
        yield lambda cluster, **more: Frames(tmp_path, cluster, stack, **more)


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[Callable[..., Pools]]:
    """Makes a run of several pools."""
    with contextlib.ExitStack() as stack:
        yield lambda cluster, workers, frames=4: Pools(
            tmp_path, stack, cluster, workers, frames
        )
