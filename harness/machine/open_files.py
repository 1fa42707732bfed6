"""How many files a process may have open at once, each connection being one."""

from __future__ import annotations

import resource
from contextlib import suppress


def raise_open_files() -> None:
    """From the soft limit, 1024 on most systems for the sake of programs that call select() on all
    they have open, to the hard one. Source: getrlimit(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Refused where the kernel's own limit (fs.nr_open) was lowered below it.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
