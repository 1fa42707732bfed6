"""Whether an implementation computes what its operation's reference does, case by case.

Inputs are drawn twice from one seed: for the implementation and, untouched, for the reference and
to see what the call changed. Random, so a new seed tries new numbers; the seed is in the verdict.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def check(trial: Trial, device: torch.device, seed: int) -> Iterator[Verdict]:
    """A verdict a case; an exception of the implementation is one, too."""
    for name, case in trial.cases.items():
        yield check_case(trial.implementation, trial.spec, name, case, trial.dtype, device, seed)


def check_case(
    implementation: Implementation,
    spec: OpSpec[Any],
    name: str,
    case: Any,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
) -> Verdict:
    ours, theirs, before = (
        spec.make(case, Draw(device, dtype, seed, implementation.name)) for _ in range(3)
    )
    verdict = Verdict(
        spec.op, implementation.name, name, str(dtype).removeprefix("torch."), str(device), seed
    )
    expected = _results(reference(spec.op), theirs)[0]
    try:
        if implementation.takes is not None and not implementation.takes(
            *(ours.arguments if ours.weights is None else ours.weights)
        ):
            return _refused(verdict, "takes= says no")
        actual, returned = _results(implementation, ours)
    except KernelError as error:
        return _refused(verdict, str(error))
    except Exception as error:  # noqa: BLE001 -- whatever a kernel does wrong is the finding
        return _found(verdict, f"raised {type(error).__name__}: {' '.join(str(error).split())}")
    if problem := _misbehaved(ours, before, actual, expected, returned):
        return _found(verdict, problem)
    worst = 0.0
    for result, theirs_there in expected.items():
        difference = spec.compare(before, result, actual[result], theirs_there)
        if difference.problem is not None:
            return _found(verdict, f"{result}: {difference.problem}", difference.share)
        worst = max(worst, difference.share)
    return replace(verdict, error=worst)


def judged(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those with a problem; one more where an implementation took none of its cases, which says
    nothing for it."""
    bad = [one for one in verdicts if one.problem is not None]
    if verdicts and all(one.refused is not None for one in verdicts):
        first = verdicts[0]
        bad.append(replace(first, problem=f"takes none of {len(verdicts)} cases ({first.refused})"))
    return bad


def _results(
    implementation: Implementation, call: Call
) -> tuple[dict[str, Tensor], Tensor | tuple[Tensor, ...] | None]:
    """Everything that the call computed, by name, and what it returned."""
    with torch.inference_mode(), warnings.catch_warnings():
        # Of Triton's interpreter: a GPU makes infinity of it and says nothing.
        warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
        returned = call.prepared(implementation.function)(*call.arguments)
    if call.arguments and call.kept and next(iter(call.kept.values())).is_cuda:
        torch.cuda.synchronize()  # so that what went wrong on the device shows here
    named: dict[str, Tensor] = dict(call.written)
    if isinstance(returned, Tensor):
        if call.returns is None:
            named["result"] = returned
    elif returned is not None:
        named |= {f"result {place}": one for place, one in enumerate(returned)}
    return named, returned


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
