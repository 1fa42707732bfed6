"""Why an implementation cannot run here: the `needs` of the registry. None means that it can."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

Needs = Callable[[], str | None]


def package(name: str) -> Needs:
    """That the package can be imported; it is not imported to find out."""
    return lambda: None if _is_installed(name) else f"{name} is not installed"


def interpreting() -> bool:
    """Whether Triton's code is interpreted on the CPU. Triton asks once, when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def _is_installed(name: str) -> bool:
    return find_spec(name) is not None
