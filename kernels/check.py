"""Whether an implementation computes what its operation's reference does, case by case.

Inputs are drawn twice from one seed: for the implementation and, untouched, for the reference and
to see what the call changed. Random, so a new seed tries new numbers; the seed is in the verdict.
What is not of this package is called several times: threads that race are wrong in a few of many
calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .dispatch import Implementation
from .errors import KernelError
from .registry import implementations, reference
from .specs.closeness import exactly
from .specs.spec import Call, Draw, OpSpec
from .specs.table import spec_of

# Calls of each case of a kernel of one's own.
OWN_REPEATS = 20


@dataclass(frozen=True)
class Verdict:
    """What one case found.

    error: the largest, as a share of what is allowed. problem: one line, where it is wrong.
    refused: why the implementation does not take the case; it says nothing then.
    """

    op: str
    implementation: str
    case: str
    dtype: str
    device: str
    seed: int
    error: float = 0.0
    problem: str | None = None
    refused: str | None = None

    @property
    def sentence(self) -> str:
        """The problem with all that is needed to find it again."""
        return (
            f"{self.op}: {self.implementation!r} in {self.dtype} on {self.device}, "
            f"case {self.case!r}, seed {self.seed}: {self.problem}"
        )


@dataclass(frozen=True)
class Trial:
    """An implementation in a dtype, and the cases to try. interpreted: Triton's code on a CPU."""

    implementation: Implementation
    spec: OpSpec[Any]
    dtype: torch.dtype
    cases: Mapping[str, Any]
    interpreted: bool = False


def trials(
    ops: Iterable[str],
    device: torch.device,
    dtypes: Sequence[torch.dtype] | None = None,
    only: Mapping[str, str] | None = None,
) -> list[Trial]:
    """Everything to try on a device. The reference is what the others are tried against, and is
    tried where it is asked for.

    only: operation -> the one implementation of it to try. Raises KernelError for one of those that
    runs in none of the dtypes.
    """
    found: list[Trial] = []
    for op in ops:
        spec, before = spec_of(op), len(found)
        asked = only[op] if only and op in only else None
        reason = None
        for one in implementations(op):
            if (one.name == "reference") if asked is None else (one.name != asked):
                continue
            for dtype in dtypes or spec.dtypes:
                reason = one.why_not(device, dtype)
                if reason is None:
                    found.append(_trial(one, spec, dtype, device))
        if asked is not None and len(found) == before:
            raise KernelError(f"{op}: {asked!r} cannot be checked on {device.type}: {reason}")
    return found


def _trial(
    one: Implementation, spec: OpSpec[Any], dtype: torch.dtype, device: torch.device
) -> Trial:
    interpreted = not one.is_chosen_on(device, dtype)
    cases = {name: spec.cases[name] for name in spec.tiny} if interpreted else spec.cases
    return Trial(one, spec, dtype, cases, interpreted)


def check(
    trial: Trial, device: torch.device, seed: int, repeats: int | None = None
) -> Iterator[Verdict]:
    """A verdict a case; an exception of the implementation is one, too. repeats: as of
    `check_case`."""
    for name, case in trial.cases.items():
        one, spec, dtype = trial.implementation, trial.spec, trial.dtype
        yield check_case(one, spec, name, case, dtype, device, seed, repeats)


def check_case(
    implementation: Implementation,
    spec: OpSpec[Any],
    name: str,
    case: Any,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
    repeats: int | None = None,
) -> Verdict:
    """repeats: calls with the same inputs, each held to the reference; None: OWN_REPEATS of what is
    not of this package, and one of what is, or is interpreted."""
    if repeats is None:
        own = not implementation.ships and implementation.is_chosen_on(device, dtype)
        repeats = OWN_REPEATS if own else 1
    ours, theirs, before = (
        spec.make(case, Draw(device, dtype, seed, implementation.name)) for _ in range(3)
    )
    verdict = Verdict(
        spec.op, implementation.name, name, str(dtype).removeprefix("torch."), str(device), seed
    )
    expected = _results(theirs.prepared(reference(spec.op).function), theirs)[0]
    compute: Callable[..., Any] | None = None
    right: dict[str, Tensor] = {}  # what the first call computed
    worst = 0.0
    for call in range(1, repeats + 1):
        at = f" (in call {call} of {repeats} with the same inputs)" if call > 1 else ""
        try:
            if compute is None:
                compute = _prepared(implementation, ours)
            else:
                _restore(ours, before)
            actual, returned = _results(compute, ours)
        except KernelError as error:
            if call == 1:
                return _refused(verdict, str(error))
            return _found(verdict, f"refused: {error}{at}")
        except Exception as error:  # noqa: BLE001 -- whatever a kernel does wrong is the finding
            said = " ".join(str(error).split())
            return _found(verdict, f"raised {type(error).__name__}: {said}{at}")
        if problem := _misbehaved(ours, before, actual, expected, returned):
            return _found(verdict, f"{problem}{at}")
        for result, theirs_there in expected.items():
            if result in right and exactly(actual[result], right[result]).problem is None:
                continue
            difference = spec.compare(before, result, actual[result], theirs_there)
            if difference.problem is not None:
                return _found(verdict, f"{result}: {difference.problem}{at}", difference.share)
            worst = max(worst, difference.share)
        if call == 1 < repeats:
            right = {result: one.clone() for result, one in actual.items()}
    return replace(verdict, error=worst)


def judged(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those with a problem; one more where an implementation took none of its cases, which says
    nothing for it."""
    bad = [one for one in verdicts if one.problem is not None]
    if verdicts and all(one.refused is not None for one in verdicts):
        first = verdicts[0]
        bad.append(replace(first, problem=f"takes none of {len(verdicts)} cases ({first.refused})"))
    return bad


def _prepared(implementation: Implementation, call: Call) -> Callable[..., Any]:
    """What the call's arguments are given to. Raises KernelError where it does not take them."""
    asked = call.arguments if call.weights is None else call.weights
    if implementation.takes is not None and not implementation.takes(*asked):
        raise KernelError("takes= says no")
    return call.prepared(implementation.function)


def _restore(ours: Call, before: Call) -> None:
    """What a call may have changed, as it was; what it must not is looked at after each."""
    for now, then in zip(ours.arguments, before.arguments, strict=True):
        if isinstance(now, Tensor):
            now.copy_(then)
    for name, tensor in ours.written.items():
        tensor.copy_(before.written[name])


def _results(
    compute: Callable[..., Any], call: Call
) -> tuple[dict[str, Tensor], Tensor | tuple[Tensor, ...] | None]:
    """Everything that the call computed, by name, and what it returned."""
    with torch.inference_mode(), warnings.catch_warnings(), _new_memory_poisoned():
        # Of Triton's interpreter: a GPU makes infinity of it and says nothing.
        warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
        returned = compute(*call.arguments)
    if call.arguments and call.kept and next(iter(call.kept.values())).is_cuda:
        torch.cuda.synchronize()  # so that what went wrong on the device shows here
    named: dict[str, Tensor] = dict(call.written)
    if isinstance(returned, Tensor):
        if call.returns is None:
            named["result"] = returned
    elif returned is not None:
        named |= {f"result {place}": one for place, one in enumerate(returned)}
    return named, returned


@contextmanager
def _new_memory_poisoned() -> Iterator[None]:
    """`torch.empty` is NaN: memory that an earlier result had may hold the right numbers. It is a
    part of PyTorch's deterministic mode, of which only this is wanted: what has no deterministic
    form is computed as ever, and its warning is of no use here."""
    before = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    warnings.filterwarnings("ignore", ".*deterministic", UserWarning)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)


def _misbehaved(
    ours: Call,
    before: Call,
    actual: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    returned: Any,
) -> str | None:
    """What is wrong whatever the numbers are."""
    if ours.returns is not None and returned is not ours.written[ours.returns]:
        return f"does not return {ours.returns!r}, which it was given"
    if actual.keys() != expected.keys():
        return f"returns {sorted(actual)} where {sorted(expected)} belong"
    for name, tensor in ours.kept.items():
        changed = exactly(tensor, before.kept[name]).problem
        if changed:
            return f"changed its input {name!r}: {changed}"
    return None


def _refused(verdict: Verdict, why: str) -> Verdict:
    return replace(verdict, refused=why)


def _found(verdict: Verdict, problem: str, error: float = float("inf")) -> Verdict:
    return replace(verdict, problem=problem, error=error)
