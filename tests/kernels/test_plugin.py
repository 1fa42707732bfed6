"""What a kernel of one's own can import."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from llmbench.kernels import plugin
from llmbench.kernels.registry import OPS, reference


def classes_of(hint: Any) -> set[type]:
    if parts := get_args(hint):
        return set().union(*map(classes_of, parts))
    return {hint} if isinstance(hint, type) else set()


@pytest.mark.parametrize("op", OPS)
def test_the_types_of_every_operation_are_there(op: str) -> None:
    definition = reference(op).function
    made = isinstance(definition, type)
    called: list[Any] = [definition.__init__, definition.__call__] if made else [definition]
    hints = [hint for one in called for hint in get_type_hints(one).values()]
    ours = {
        one.__name__
        for one in set().union(*map(classes_of, hints))
        if one.__module__.startswith("llmbench.kernels")
    }
    assert ours <= set(plugin.__all__)
