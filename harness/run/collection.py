"""What is measured is not stopped by Python's search for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Looking for cycles among all that a model, its libraries and a growing trace hold takes tens
    of milliseconds each time, more than many a step. Requests and steps leave none: what they are
    made of goes when its last reference does."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
