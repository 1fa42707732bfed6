"""A function or class of Triton's becomes an implementation of an operation."""

from __future__ import annotations

from collections.abc import Callable

from ..dispatch import CallPredicate
from ..registry import F, Predicate, implements
from ..requirements import package
from .target import on_gpu


def implements_triton(
    op: str,
    *,
    backend: str = "triton",
    when: Predicate = on_gpu,
    priority: int = 100,
    takes: CallPredicate | None = None,
    prefers: CallPredicate | None = None,
    emulates: str | None = None,
) -> Callable[[F], F]:
    """As `implements`, of one that needs Triton."""
    return implements(
        op,
        backend=backend,
        when=when,
        priority=priority,
        takes=takes,
        prefers=prefers,
        needs=package("triton"),
        emulates=emulates,
    )
