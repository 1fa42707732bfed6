"""Engines that other packages would bring, without installing any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llmbench.engines import presets as table


class _Entry:
    """Of an entry point, what is asked: what it names, loaded, or why it cannot be."""

    dist = None

    def __init__(self, name: str, named: object) -> None:
        self.name = self.value = name
        self._named = named

    def load(self) -> object:
        if isinstance(self._named, BaseException):
            raise self._named
        return self._named


@contextmanager
def brought(monkeypatch: pytest.MonkeyPatch, plugins: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Entry points of `llmbench.engines`, by name; more can be added until they are first read."""

    def entry_points(*, group: str) -> list[_Entry]:
        assert group == "llmbench.engines"
        return [_Entry(name, named) for name, named in plugins.items()]

    monkeypatch.setattr(table, "entry_points", entry_points)
    table._plugins.cache_clear()
    yield plugins
    table._plugins.cache_clear()
