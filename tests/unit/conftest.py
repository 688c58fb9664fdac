"""Fixtures of tests of the scheduler's parts, whose time is their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.batch_site import Site
from harness.one_pool import OnePool
from harness.one_start import OneStart, handlers_kept


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnePool:
    """A pool of workers, whose launcher is a stand-in."""
    return OnePool(tmp_path, monkeypatch)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A machine with a batch system that says what a test wants."""
    return Site(tmp_path / "site", monkeypatch)


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., OneStart]]:
    """Makes a start whose time is its own."""

    def make(*stages: str, **more: Any) -> OneStart:
        return OneStart(tmp_path, monkeypatch, stages or ("denoise",), **more)

    with handlers_kept():
        yield make
