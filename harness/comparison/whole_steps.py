"""Steps that an engine computes as one, and the others: which of them a policy makes is no quality
of the policy.

A GPU replays a decode step as a captured graph, a processor computes one of few decodes in one call
(`kernels/native/decoder.py`). Any other step costs what the host takes for each of its operations.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...reports.format import rounded_percent
from ..result import Result

# Of all steps: what the host takes for the operations of one more in ten moves a mean by a few per
# cent.
_DIFFER = 0.1


def whole_step_notes(names: Sequence[str], results: Sequence[Result]) -> list[str]:
    """What is said of runs that differ in it: those on GPUs, then those on processors."""
    named = list(zip(names, results, strict=True))
    replayed = [(share, name) for name, one in named if (share := _replayed(one)) is not None]
    called = [(share, name) for name, one in named if (share := _in_one_call(one)) is not None]
    found: list[str] = []
    if _differ(replayed):
        (most, often), (least, seldom) = max(replayed), min(replayed)
        found.append(
            f"{often} replayed {rounded_percent(most)} of its steps as graphs and {seldom} "
            f"{rounded_percent(least)}: what the host takes to launch the others is in their "
            "difference, whatever planned them"
        )
    if _differ(called):
        (most, often), (least, seldom) = max(called), min(called)
        found.append(
            f"{often} computed {rounded_percent(most)} of its steps in one call and {seldom} "
            f"{rounded_percent(least)}: what single operations take longer in the others is in "
            "their difference, whatever planned them"
        )
    return found


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


def _differ(shares: Sequence[tuple[float, str]]) -> bool:
    return bool(shares) and max(shares)[0] - min(shares)[0] > _DIFFER
