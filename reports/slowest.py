"""The slowest of a run one by one: requests to their first token, tokens by step, and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .facts import counted_as, floats, served, step_durations_s
from .format import ABSENT, Scale, count, percent, plural, seconds, seconds_in
from .glossary import PARTS
from .latency_parts import numbers
from .model import Run, Table
from .step_charts import OWN_WORK, PHASES
from .tables import SLOWEST, table
from .thinning import Floats

Ints = NDArray[np.int64]

_MS = Scale("ms", 1e3)
_INDEX = "Step: its index in steps.parquet and in the step timeline."


def first_tokens(run: Run) -> Table | None:
    """The requests that waited longest for their first token, and for what."""
    found = run.result.get("attribution")
    if not found or not found["slowest_requests"]:
        return None
    rows = [
        (one["request_id"], seconds_in(one["t_due_s"]), *numbers(one["parts"], _MS))
        for one in found["slowest_requests"]
    ]
    many = plural(len(rows), *counted_as(run.result["config"]))
    return table(
        "slowest-ttft",
        f"Slowest {many} to their first token, in ms",
        ("Request", "Due (s)", "TTFT", *(part.label for part in PARTS)),
        rows,
    )


def tokens(run: Run) -> Table | None:
    """The longest waits between two tokens, and for what: a row for each step that ended some."""
    found = run.result.get("attribution")
    if not found or not found["slowest_tokens"]:
        return None
    known = _Steps.of(run, found["slow_token_s"])
    by_step: dict[int | str, tuple[str, ...]] = {}
    for one in found["slowest_tokens"]:
        first, last = known.waited_for(one)
        # The longest is the first; a token of no known step is a row by itself.
        by_step.setdefault(
            f"{one['request_id']} {one['token']}" if last is None else last,
            (
                known.span(first, last),
                ABSENT if last is None else count(known.waiting[last]),
                f"{count(one['token'])} of {one['request_id']}",
                seconds_in(one["time_s"]),
                *numbers(one["parts"], _MS),
            ),
        )
    return table(
        "slowest-gaps",
        f"Steps of the slowest {plural(len(found['slowest_tokens']), 'token')}, in ms",
        (
            "Step",
            "Waiting",
            "Token",
            "At (s)",
            "Gap",
            *(part.label for part in PARTS),
        ),
        list(by_step.values()),
        words=("Token",),
        note=f"{_INDEX} Of several, those that ran from the token before to this one. Tokens that "
        "came from one step are one row: the longest gap, and how many requests waited longer than "
        f"{seconds(found['slow_token_s'])}, twice the median gap.",
    )


def steps(run: Run) -> Table | None:
    """The longest steps, and what they computed; None where no step is known."""
    frame = run.steps
    if frame.empty:
        return None
    has_phases = any(np.nansum(floats(frame, f"{phase}_s")) > 0 for phase in PHASES)
    order = np.argsort(-step_durations_s(run), kind="stable")[:SLOWEST]
    rows = [
        (
            count(step["index"]),
            seconds_in(step["start_s"]),
            _MS.number(step["end_s"] - step["start_s"]),
            count(step["prefill_tokens"]),
            count(step["decode_tokens"]),
            count(step["prefill_requests"] + step["decode_requests"]),
            *([_own_share(step)] if has_phases else []),
        )
        for step in frame.iloc[order].to_dict("records")
    ]
    own = f" Host: {', '.join(OWN_WORK)}, of the step's time." if has_phases else ""
    return table(
        "slowest-steps",
        f"Slowest {plural(len(rows), 'step')}",
        (
            "Step",
            "Start (s)",
            "Duration (ms)",
            "Prefill tokens",
            "Decode tokens",
            "Requests",
            *(["Host"] if has_phases else []),
        ),
        rows,
        note=f"{_INDEX}{own}",
    )


@dataclass(frozen=True)
class _Steps:
    """Which step a token came from.

    end_s, waiting, index: [steps]. waiting: how many slow gaps each step ended. index: what each
    is called. token_times_s: by request.
    """

    end_s: Floats
    waiting: Ints
    index: Ints
    token_times_s: Mapping[str, Floats]

    @classmethod
    def of(cls, run: Run, slow_s: float) -> _Steps:
        """slow_s: the gaps beyond it are slow."""
        frame, end_s = served(run), floats(run.steps, "end_s")
        times = {
            str(name): np.asarray(times_s, dtype=np.float64)
            for name, times_s in zip(frame["request_id"], frame["token_times_s"], strict=True)
        }
        slow_ends = [one[1:][np.diff(one) > slow_s] for one in times.values()]
        at = np.searchsorted(end_s, np.concatenate([np.empty(0), *slow_ends]))
        waiting = np.bincount(at[at < len(end_s)], minlength=len(end_s))
        return cls(end_s, waiting, run.steps["index"].to_numpy(dtype=np.int64), times)

    def waited_for(self, token: Mapping[str, Any]) -> tuple[int | None, int | None]:
        """The first and the last step that ran from the token before to this one; None for a token
        that is in no step. A step's tokens are there before it ends."""
        times_s = self.token_times_s.get(token["request_id"], np.empty(0))
        number = token["token"]
        if not 0 < number < len(times_s):
            return None, None
        before, last = np.searchsorted(self.end_s, times_s[number - 1 : number + 1]).tolist()
        return (min(before + 1, last), last) if last < len(self.end_s) else (None, None)

    def span(self, first: int | None, last: int | None) -> str:
        """ "42", "41 to 42"; "n/a" for none."""
        if first is None or last is None:
            return ABSENT
        names = dict.fromkeys(count(self.index[at]) for at in (first, last))
        return " to ".join(names)


def _own_share(step: Mapping[Any, Any]) -> str:
    """Of the time that the phases of a step account for, the engine's own work."""
    own_s, whole_s = (
        float(np.nansum([step[f"{phase}_s"] for phase in of])) for of in (OWN_WORK, PHASES)
    )
    return percent(own_s / whole_s) if whole_s > 0 else ABSENT
