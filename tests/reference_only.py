"""A pytest plugin: only the tests that hold us against other tools' libraries, and none is skipped.

make test-reference
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

MARK = "reference"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [item for item in items if item.get_closest_marker(MARK) is None]
    items[:] = [item for item in items if item.get_closest_marker(MARK) is not None]
    config.hook.pytest_deselected(items=others)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr}\nit must not be skipped in `make test-reference`"
    return report
