"""Fixtures of all tests."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import REAL_DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--disturbances",
        type=int,
        default=5,
        metavar="N",
        help="how many random disturbances test_disturbances.py plays (default 5)",
    )
    parser.addoption(
        "--allow-skips",
        metavar="FILE",
        type=Path,
        help="fail on a skip whose reason matches no line (a pattern) of this file",
    )


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--allow-skips"):
        config.pluginmanager.register(UnexpectedSkips(file))


class UnexpectedSkips:
    """A run in which a test was skipped without leave has failed."""

    def __init__(self, allowed: Path) -> None:
        lines = allowed.read_text("utf-8").splitlines()
        self._allowed = [x for x in lines if x and not x.startswith("#")]
        self._unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if not any(re.fullmatch(pattern, reason) for pattern in self._allowed):
                self._unexpected.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        if self._unexpected:
            terminalreporter.section("skipped without leave", red=True)
            for line in self._unexpected:
                terminalreporter.write_line(line)


@pytest.fixture
def real_czi() -> Callable[[str], Path]:
    """A real CZI file by name; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.is_file():
            pytest.skip(f"{name} is not in {REAL_DATA} (DENOISE_DAISY_REAL_DATA)")
        return path

    return find
