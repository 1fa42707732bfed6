"""A pytest plugin: only the tests that hold us against other tools' libraries, and none is skipped.

make test-reference
"""

from __future__ import annotations

import pytest

pytest_plugins = ("tests.none_skipped",)

MARK = "reference"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [item for item in items if item.get_closest_marker(MARK) is None]
    items[:] = [item for item in items if item.get_closest_marker(MARK) is not None]
    config.hook.pytest_deselected(items=others)
