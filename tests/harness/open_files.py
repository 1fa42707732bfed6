"""A process that may open few files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice


def allow_few(more: int, *, hard: bool = False) -> int:
    """From now on this process may open so many more than it has; returns how many that is. hard:
    and may not change that."""
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    # A limit is on their numbers, the lowest of which go first.
    *_, last = islice((number for number in count() if number not in taken), more)
    most = last + 1
    _, before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most if hard else before))
    return most


@contextmanager
def few_allowed(more: int) -> Iterator[int]:
    """Yields how many files this process may open by its hard limit; its soft one is that of
    `allow_few` at first."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_few(more)
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
