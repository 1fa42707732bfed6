"""What an engine did that makes a part of a latency longer or shorter.

That a counter changed is no reason: it is one if it pushes the way the part went, and far enough.
Where none does, that is said, for a wrong reason is worse than none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .facts import floats, step_durations_s
from .format import count, percent, seconds, size
from .kept_out import QUEUE_BLOCKED, kept_out
from .model import Run

UNEXPLAINED = "no counter explains it"
# A reason has changed by so much of the part's own change, both as logarithms of factors, ...
_OF_THE_CHANGE = 0.25
# ... and by a factor from 1.05, below which any two runs differ; 1.5 is enough for whatever change.
_LEAST, _ENOUGH = 1.05, 1.5
# Shares from which on steps are of another kind, and their times no longer of the same thing.
_ANOTHER_KIND = 0.1
_GAPS = ("tpot", "itl")


@dataclass(frozen=True)
class Reason:
    """What may move a part.

    text: where the value goes, as `shown` writes it. of: a run's; None where it is not known.
    sign: 1 if more of it makes the part longer, -1 if less does. points: of a share, how much it
    has to change; None: by a factor. metrics: whose part it moves; empty: anyone's. last: only
    where no other explains it: how long steps took, which is nearly the part itself.
    """

    text: str
    of: Callable[[Run], float | None]
    shown: Callable[[float], str]
    sign: int
    points: float | None = None
    only_if: Callable[[Run], bool] | None = None
    metrics: tuple[str, ...] = ()
    last: bool = False


def why(part: str, metric: str, runs: tuple[Run, Run], seconds_: tuple[float, float]) -> str:
    """What moved a part of a metric between two runs; empty if nothing that was counted did.

    seconds_: the part in either run.
    """
    known = [one for one in _REASONS.get(part, ()) if not one.metrics or metric in one.metrics]
    first = [_said(one, runs, seconds_) for one in known if not one.last]
    if any(first) or _steps_are_unlike(runs):
        return "; ".join(filter(None, first))
    last = (_said(one, runs, seconds_) for one in known if one.last)
    return "; ".join(filter(None, last))


def _said(reason: Reason, runs: tuple[Run, Run], seconds_: tuple[float, float]) -> str:
    longer = runs[seconds_[1] > seconds_[0]]
    if reason.only_if is not None and not reason.only_if(longer):
        return ""
    was, now = (reason.of(run) for run in runs)
    if was is None or now is None or not _explains(reason, (was, now), seconds_):
        return ""
    before, after = reason.shown(was), reason.shown(now)
    return "" if before == after else f"{reason.text.format(after)}, was {before}"


def _explains(reason: Reason, values: tuple[float, float], seconds_: tuple[float, float]) -> bool:
    was, now = values
    longer = seconds_[1] > seconds_[0]
    if was == now or (now > was) != (longer == (reason.sign > 0)):
        return False
    if reason.points is not None:
        return abs(now - was) >= reason.points
    needed = max(math.log(_LEAST), _OF_THE_CHANGE * _factor(seconds_))
    return _factor(values) >= min(needed, math.log(_ENOUGH))


def _factor(values: tuple[float, float]) -> float:
    """The logarithm of how far apart they are; infinite from nothing to something."""
    least, most = sorted(values)
    return math.log(most / least) if least > 0 else math.inf


def _steps_are_unlike(runs: tuple[Run, Run]) -> bool:
    was, now = (_sharing(run) or 0.0 for run in runs)
    return abs(now - was) >= _ANOTHER_KIND


def _sharing(run: Run) -> float | None:
    """Of the steps that compute a prompt, those that decode, too."""
    counters = run.result["counters"]
    of = counters["prefill_steps"] + counters["mixed_steps"]
    return counters["mixed_steps"] / of if of else None


def _delayed(run: Run) -> float | None:
    return run.result["attribution"]["delayed_decode_step_share"]


def _a_step(phase: str) -> Callable[[Run], float | None]:
    """Tokens of a phase, for each step that had any of it."""

    def of(run: Run) -> float | None:
        counters = run.result["counters"]
        steps = counters[f"{phase}_steps"] + counters["mixed_steps"]
        return counters[f"{phase}_tokens"] / steps if steps else None

    return of


def _counted(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.result["counters"][name]


def _found(run: Run) -> float | None:
    """The share of the prompts' tokens that did not have to be computed."""
    counters = run.result["counters"]
    hits = counters["prefix_hit_tokens"] or 0
    whole = hits + counters["prefill_tokens"]
    return hits / whole if whole else None


def _kept_out_by_memory(run: Run) -> float:
    return kept_out(run.steps, run.result["config"]).by_memory


def _kept_out_by_batch(run: Run) -> float:
    return kept_out(run.steps, run.result["config"]).by_batch


def _is_short_of_memory(run: Run) -> bool:
    return _kept_out_by_memory(run) >= QUEUE_BLOCKED


def _waste(run: Run) -> float | None:
    return (run.result.get("kv") or {}).get("waste_share")


def _weights(run: Run) -> float | None:
    return (run.result.get("memory") or {}).get("weight_bytes")


def _running(run: Run) -> float | None:
    """Over the time that steps took."""
    lengths_s = step_durations_s(run)
    whole_s = float(lengths_s.sum())
    return float(floats(run.steps, "running") @ lengths_s) / whole_s if whole_s > 0 else None


def _step_s(run: Run) -> float | None:
    return float(step_durations_s(run).mean()) if len(run.steps) else None


def _prompt_step_s(run: Run) -> float | None:
    chosen = floats(run.steps, "prefill_tokens") > 0
    return float(step_durations_s(run)[chosen].mean()) if chosen.any() else None


def _decode_step_s(run: Run) -> float | None:
    alone = (floats(run.steps, "prefill_tokens") == 0) & (floats(run.steps, "decode_tokens") > 0)
    return float(step_durations_s(run)[alone].mean()) if alone.any() else None


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 100 else count(value)


_SHARED = "prompts shared {} of their steps with decodes"
_A_PREFILL, _A_PROMPT_STEP = "{} prompt tokens a prefill", "a step with a prompt took {}"
_REASONS: Mapping[str, tuple[Reason, ...]] = {
    "queue_s": (
        Reason("{} requests ran at a time", _running, _number, -1),
        Reason("some waited for a batch to end {} of the time", _kept_out_by_batch, percent, 1),
        Reason(
            "some waited for memory {} of the time", _kept_out_by_memory, percent, 1,
            only_if=_is_short_of_memory,
        ),
        # Waste that kept nobody out made nobody wait.
        Reason(
            "{} of the KV memory taken was waste", _waste, percent, 1, points=0.1,
            only_if=_is_short_of_memory,
        ),
        Reason("a step took {}", _step_s, seconds, 1, last=True),
    ),
    "own_prefill_s": (
        Reason("{} of the prompts' tokens were in the prefix cache", _found, percent, -1, 0.01),
        # Each chunk reads the weights again; decodes in the same step pay for that reading.
        Reason(_A_PREFILL, _a_step("prefill"), _number, -1),
        Reason(_SHARED, _sharing, percent, -1, points=_ANOTHER_KIND),
        Reason(_A_PROMPT_STEP, _prompt_step_s, seconds, 1, last=True),
    ),
    "others_prefill_s": (
        Reason(
            "another's prefill delayed {} of the steps with decodes", _delayed, percent, 1,
            metrics=_GAPS,
        ),
        Reason(_A_PREFILL, _a_step("prefill"), _number, 1),
        # A prompt in a step of its own makes a decode wait for the whole of it.
        Reason(_SHARED, _sharing, percent, -1, points=_ANOTHER_KIND, metrics=_GAPS),
        Reason(_A_PROMPT_STEP, _prompt_step_s, seconds, 1, last=True),
    ),
    "decode_s": (
        Reason("{} decodes a step", _a_step("decode"), _number, 1),
        Reason("a step reads {} of weights", _weights, size, 1),
        Reason(_SHARED, _sharing, percent, 1, points=_ANOTHER_KIND, metrics=("ttft",)),
        Reason("a step of decodes alone took {}", _decode_step_s, seconds, 1, last=True),
    ),
    "preemption_s": (
        Reason("{} preemptions", _counted("preemptions"), count, 1),
        Reason("{} tokens computed again", _counted("recomputed_tokens"), count, 1),
    ),
}  # fmt: skip
