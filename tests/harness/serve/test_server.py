"""What a server asks of its process as it begins."""

from __future__ import annotations

from llmbench.harness.machine.open_files import most_open_files

from ..open_files import few_allowed
from .servers import served


def test_as_many_connections_as_the_hard_limit_allows() -> None:
    with few_allowed(100) as hard, served():
        assert most_open_files() == hard
