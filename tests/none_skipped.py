"""A pytest plugin for targets that install what their tests need: a test that is skipped fails."""

from __future__ import annotations

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr}\nit must not be skipped: this target installs all"
    return report
