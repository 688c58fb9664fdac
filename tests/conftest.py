"""Fixtures of all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import REAL_DATA


@pytest.fixture
def real_czi() -> Callable[[str], Path]:
    """A real CZI file by name; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.is_file():
            pytest.skip(f"{name} is not in {REAL_DATA} (DENOISE_DAISY_REAL_DATA)")
        return path

    return find
