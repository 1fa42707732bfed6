"""Who computes a call: the first implementation that takes it and prefers it, counted.

Which implementations may run is known when a model is built; which of them is better may depend on
the call (one row, or a thousand). Counting is one addition to a number that the process keeps, so
that a run can say which code it ran: `calls` before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from .errors import KernelError
from .requirements import Needs, interpreting

Predicate = Callable[[torch.device, torch.dtype], bool]
CallPredicate = Callable[..., bool]
Calls = dict[str, dict[str, int]]

# Calls so far of each operation's implementations; a list of one number is a cell to add to.
_counts: dict[tuple[str, str], list[int]] = {}


@dataclass(frozen=True)
class Implementation:
    """One way to compute `op`; `registry.implements` says what the fields mean."""

    op: str
    name: str
    function: Callable[..., Any]
    when: Predicate
    priority: int
    takes: CallPredicate | None = None
    prefers: CallPredicate | None = None
    needs: Needs | None = None
    emulates: str | None = None

    @property
    def ships(self) -> bool:
        """Whether it is of this package, and not a user's or another package's."""
        function = self.function.func if isinstance(self.function, partial) else self.function
        return f"{function.__module__}.".startswith(f"{__package__}.")

    def is_chosen_on(self, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether it may be chosen without being asked for."""
        return self.when(device, dtype) and (self.needs is None or self.needs() is None)

    def why_not(self, device: torch.device, dtype: torch.dtype) -> str | None:
        """Why it cannot run there, in a line; None where it can, if only when it is asked for, as
        Triton's code can on a CPU while it is interpreted."""
        made_for = self.when(device, dtype)
        elsewhere = f"does not run on {device.type} in {dtype}"
        if not made_for and device.type != "cpu":
            return elsewhere  # what it needs may take a compiler some seconds to say
        missing = self.needs() if self.needs is not None else None
        if missing is not None:
            return missing
        if made_for:
            return None
        if device.type == "cpu" and self.when(torch.device("cuda"), dtype):
            if not self.name.startswith("triton"):
                return "needs a CUDA device"
            return None if interpreting() else "needs a CUDA device, or TRITON_INTERPRET=1"
        return elsewhere


@dataclass(frozen=True)
class Selection:
    """The implementations of `op` that may compute it in one place, best first.

    prepares: the operation is a class, prepared with weights once and then called many times.
    forced: there is one candidate, which was asked for; a call that it does not take is refused.
    """

    op: str
    candidates: tuple[Implementation, ...]
    prepares: bool
    forced: bool = False

    @property
    def name(self) -> str:
        """The best candidate's: what runs wherever it takes and prefers the call."""
        return self.candidates[0].name

    @cached_property
    def reachable(self) -> tuple[Implementation, ...]:
        """The candidates that some call may go to. Left out: whatever stands behind one that takes
        and prefers every call, or behind one with the same `takes` and no `prefers`, as native
        kernels of several instruction sets do."""
        found: list[Implementation] = []
        left_nothing: set[CallPredicate] = set()  # to who takes the same calls
        for one in self.candidates:
            if one.takes in left_nothing:
                continue
            found.append(one)
            if one.prefers is None:
                if one.takes is None:
                    break
                left_nothing.add(one.takes)
        return tuple(found)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The operation: call it as the reference. Raises KernelError for a call, or weights, that
        a forced implementation does not take."""
        return self._prepare if self.prepares else _dispatcher(self)

    def _prepare(self, *weights: Any, **named: Any) -> PreparedOp:
        """Of a class: weights prepared for each candidate that some call may go to."""
        taking = [one for one in self.reachable if _takes(one, weights, named)]
        if not taking:
            raise self.refused("these weights", (*weights, *named.values()))
        choices: list[tuple[Callable[..., Any], CallPredicate | None, list[int]]] = []
        for one in taking:
            prefers = None if self.forced else _given(one.prefers, weights, named)
            choices.append((one.function(*weights, **named), prefers, _count(one)))
            if prefers is None:  # as the reference's, which takes whatever is left
                break
        return PreparedOp(choices)

    def refused(self, what: str, arguments: Iterable[Any]) -> KernelError:
        asked = ", which was asked for," if self.forced else ""
        given = "; ".join(_described(argument) for argument in arguments)
        return KernelError(f"{self.op}: {self.name!r}{asked} does not take {what}: {given}")


class PreparedOp:
    """Weights made ready, by one implementation or by several that share the calls."""

    __slots__ = ("_choices",)

    def __init__(
        self, choices: Sequence[tuple[Callable[..., Any], CallPredicate | None, list[int]]]
    ) -> None:
        self._choices = tuple(choices)

    def __call__(self, *arguments: Any) -> Any:
        for function, prefers, count in self._choices:
            if prefers is None or prefers(*arguments):
                count[0] += 1
                return function(*arguments)
        raise AssertionError("the last choice has no preference")

    @property
    def prepared(self) -> tuple[Any, ...]:
        """What each implementation made of the weights, best first."""
        return tuple(function for function, _, _ in self._choices)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads, of the implementation that comes first."""
        return self._choices[0][0].weight_bytes  # pyright: ignore[reportFunctionMemberAccess]


def count_calls(op: str, name: str) -> list[int]:
    """The cell to add to for each call of an implementation that is called past `Selection`."""
    return _counts.setdefault((op, name), [0])


def calls() -> Calls:
    """How often each implementation has computed each operation since the process began.

    What a CUDA graph replays is counted once, when it is captured.
    """
    counted: Calls = {}
    for (op, name), (count,) in _counts.items():
        if count:
            counted.setdefault(op, {})[name] = count
    return counted


def calls_since(before: Mapping[str, Mapping[str, int]]) -> Calls:
    """What has been added to `calls` since it said `before`."""
    added: Calls = {}
    for op, counted in calls().items():
        earlier = before.get(op, {})
        fresh = {name: count - earlier.get(name, 0) for name, count in counted.items()}
        if any(fresh.values()):
            added[op] = {name: count for name, count in fresh.items() if count}
    return added


def _dispatcher(selection: Selection) -> Callable[..., Any]:
    choices = [
        (one.function, one.takes, None if selection.forced else one.prefers, _count(one))
        for one in selection.reachable
    ]
    first, takes, prefers, first_count = choices[0]
    if takes is None and prefers is None:

        def call(*arguments: Any, **named: Any) -> Any:
            first_count[0] += 1
            return first(*arguments, **named)

        return call

    def choose(*arguments: Any, **named: Any) -> Any:
        for function, takes, prefers, count in choices:
            if (takes is None or takes(*arguments, **named)) and (
                prefers is None or prefers(*arguments, **named)
            ):
                count[0] += 1
                return function(*arguments, **named)
        raise selection.refused("this call", (*arguments, *named.values()))

    return choose


def _described(argument: Any) -> str:
    """What a predicate may have looked at, in a few words."""
    if not isinstance(argument, torch.Tensor):
        known = isinstance(argument, bool | int | float | torch.dtype | None)
        return str(argument) if known else type(argument).__name__
    dtype = str(argument.dtype).removeprefix("torch.")
    apart = "" if argument.is_contiguous() else f" with strides {list(argument.stride())}"
    return f"{dtype} {list(argument.shape)}{apart} on {argument.device.type}"


def _takes(one: Implementation, weights: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    return one.takes is None or one.takes(*weights, **named)


def _given(
    prefers: CallPredicate | None, weights: tuple[Any, ...], named: Mapping[str, Any]
) -> CallPredicate | None:
    """`prefers` of the weights and a call, as a predicate of the call."""
    if prefers is None:
        return None
    return lambda *arguments: prefers(*weights, *arguments, **named)


def _count(one: Implementation) -> list[int]:
    return count_calls(one.op, one.name)
