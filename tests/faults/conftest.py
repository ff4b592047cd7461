"""A table of the faults that were tried, at the end of the tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def survived(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Put a line into the table: a fault, and how often it was tried, and survived."""
    return lambda fault, tried: record_property("fault", (fault, tried))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print fault, tried, survived; tests that failed have no line, but say why above."""
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in getattr(report, "user_properties", ())
        if key == "fault" and report.when == "call"
    ]
    if rows:
        terminalreporter.section("faults")
        for fault, tried in rows:
            terminalreporter.write_line(f"{tried:8,} tried, {tried:8,} survived   {fault}")
