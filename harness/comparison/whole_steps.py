"""Steps that an engine computes as one, and the others: which of them a policy makes is no quality
of the policy.

A GPU replays a decode step as a captured graph, a processor computes one of few decodes in one call
(`kernels/native/decoder.py`). Any other step costs what the host takes for each of its operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...reports.format import rounded_percent
from ..result import Result

# Of all steps: what the host takes for the operations of one more in ten moves a mean by a few per
# cent.
_DIFFER = 0.1


def whole_step_notes(names: Sequence[str], results: Sequence[Result]) -> list[str]:
    """What is said of runs that differ in it: those on GPUs, then those on processors."""
    launches = "what the host takes to launch the others"
    calls = "what single operations take longer in the others"
    return [
        *_notes(names, map(_replayed, results), "replayed {} of its steps as graphs", launches),
        *_notes(names, map(_in_one_call, results), "computed {} of its steps in one call", calls),
    ]


def _notes(
    names: Sequence[str], shares: Iterable[float | None], did: str, price: str
) -> Iterator[str]:
    """One note, where shares differ. did: with a place for the most of them. price: what the steps
    of the others cost."""
    named = [(share, name) for name, share in zip(names, shares, strict=True) if share is not None]
    if not named:
        return
    (most, often), (least, seldom) = max(named), min(named)
    if most - least > _DIFFER:
        yield (
            f"{often} {did.format(rounded_percent(most))} and {seldom} {rounded_percent(least)}: "
            f"{price} is in their difference, whatever planned them"
        )


def _replayed(result: Result) -> float | None:
    """None where the host computes, which launches nothing."""
    counters = result.counters
    if counters.replayed_steps is None or not counters.steps:
        return None
    return counters.replayed_steps / counters.steps


def _in_one_call(result: Result) -> float | None:
    """None where a device computes, and of runs whose calls were not counted: those in virtual
    time, and of others' engines."""
    counters = result.counters
    if counters.replayed_steps is not None or not result.kernel_calls or not counters.steps:
        return None
    return sum(result.kernel_calls.get("decoder_step", {}).values()) / counters.steps
