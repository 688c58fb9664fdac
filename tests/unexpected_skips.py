"""A pytest plugin: a run in which a test was skipped without leave has failed."""

import re
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--allow-skips",
        metavar="FILE",
        type=Path,
        help="fail on a skip whose reason matches no line (a pattern) of this file",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A worker of pytest-xdist leaves it to the process that sees all reports.
    is_worker = hasattr(config, "workerinput")
    if (file := config.getoption("--allow-skips")) and not is_worker:
        config.pluginmanager.register(UnexpectedSkips(file))


class UnexpectedSkips:
    """Skips whose reasons are not allowed."""

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
