"""Whether an implementation can be called as its operation's reference is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from inspect import Parameter
from typing import Any

from .errors import KernelError


def check_signature(
    op: str, name: str, function: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    """Parameters of the reference's names, in its order; more only with defaults.

    Raises KernelError in one line: the operation, what is wrong, the signature that is expected.
    """
    if not isinstance(reference, type):
        _check(op, name, function, reference, drop_self=False)
        return
    made = function.func if isinstance(function, partial) else function
    if not isinstance(made, type):
        # A factory: only what it makes could show the rest.
        _check(op, name, function, reference, drop_self=False)
        return
    _check(op, name, function, reference, drop_self=False)
    if "__call__" not in dir(made):
        raise KernelError(f"{op}: {name!r} has no __call__; {op} is a class that is called")
    _check(op, f"{name}.__call__", made.__call__, reference.__call__, drop_self=True)
    for asked, what in _asked_of(reference).items():
        if not hasattr(made, asked):
            raise KernelError(f"{op}: {name!r} has no {asked}, {what}")


def _asked_of(reference: type) -> dict[str, str]:
    """Methods and properties of the reference that others may call, and what each is."""
    asked = {
        name: "which the reference has"
        for name, member in vars(reference).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }
    return asked | {"weight_bytes": "the bytes that a call reads"}


def _check(
    op: str,
    name: str,
    function: Callable[..., Any],
    reference: Callable[..., Any],
    *,
    drop_self: bool,
) -> None:
    expected = _parameters(reference, drop_self)
    written = _written("__call__" if drop_self else op, expected)
    try:
        actual = _parameters(function, drop_self)
    except (TypeError, ValueError) as error:
        raise KernelError(f"{op}: {name!r} is no function or class; expected {written}") from error
    if problem := _difference(actual, expected):
        raise KernelError(f"{op}: {name!r} {problem}; expected {written}")


def _difference(actual: list[Parameter], expected: list[Parameter]) -> str | None:
    if any(one.kind is Parameter.VAR_POSITIONAL for one in actual):
        return None  # takes whatever comes
    by_position = [
        one
        for one in actual
        if one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    for place, theirs in enumerate(expected):
        if place >= len(by_position):
            return f"has no parameter {theirs.name!r}"
        ours = by_position[place]
        if ours.name != theirs.name:
            return f"has {ours.name!r} where {theirs.name!r} belongs"
        if theirs.default is not Parameter.empty and ours.default is Parameter.empty:
            return f"needs {ours.name!r}, which a call may leave out"
    for one in actual:
        required = one.default is Parameter.empty and one.kind is not Parameter.VAR_KEYWORD
        if required and one not in by_position[: len(expected)]:
            return f"needs {one.name!r}, which no call gives"
    return None


def _parameters(function: Callable[..., Any], drop_self: bool) -> list[Parameter]:
    return list(inspect.signature(function).parameters.values())[drop_self:]


def _written(name: str, parameters: list[Parameter]) -> str:
    def one(parameter: Parameter) -> str:
        default = parameter.default
        return parameter.name if default is Parameter.empty else f"{parameter.name}={default!r}"

    return f"{name}({', '.join(one(parameter) for parameter in parameters)})"
