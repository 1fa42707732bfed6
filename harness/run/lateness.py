"""Whether the load that was sent is the load that was asked for.

In this process requests are handed over between steps, so one that falls due while a step runs must
wait for that step, and for no other: that much is the engine's, as it would be behind a server's
front end, and is left out request by request. One long step excuses only whom it held back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from ...engines.trace import StepTrace
from ..result import Check
from ..stats.percentiles import percentile
from .record import RequestRecord, counted_as

RATE_SHARE = 0.95
# Where steps held requests back, the sender is not to blame, and the engine still met another load.
HELD_SHARE = 0.8
# A sender between two steps also waits for the loop around them, and the operating system's
# scheduler alone can take this long on a busy machine. A run is not judged more finely.
PAUSE_S = 0.05


def waits_for_steps(
    requests: Sequence[RequestRecord], steps: Sequence[StepTrace]
) -> tuple[float, ...]:
    """What each request waited, from when it was due, for the first step that ended after that.
    steps: in order of time."""
    ends_s = [step.end_s for step in steps]
    found: list[float] = []
    for one in requests:
        at = bisect_right(ends_s, one.t_due_s)
        waited_s = 0.0
        if at < len(steps):
            # One that begins a moment after the sender last looked holds it up as well.
            waited_s = min(one.t_send_s, ends_s[at]) - max(one.t_due_s, steps[at].start_s)
        found.append(max(0.0, waited_s))
    return tuple(found)


def waits_for_unseen_steps(
    requests: Sequence[RequestRecord], longest_s: float
) -> tuple[float, ...]:
    """The most that each can have waited so, of a library whose steps are not seen: to the next
    token of any request, with which a step ends, and no more than longest_s, its longest step."""
    tokens_s = sorted(time_s for one in requests for time_s in one.token_times_s)
    found: list[float] = []
    for one in requests:
        at = bisect_right(tokens_s, one.t_due_s)
        end_s = min(one.t_send_s, tokens_s[at]) if at < len(tokens_s) else one.t_send_s
        found.append(max(0.0, min(end_s - one.t_due_s, longest_s)))
    return tuple(found)


def check_sender_lag(
    requests: Sequence[RequestRecord], waits_s: Sequence[float], *, on_schedule: bool
) -> Check:
    """A client that is the bottleneck measures itself. waits_s: of each request, for steps; none
    for a server's. on_schedule: requests were due at set times, whatever had ended."""
    if not requests or not on_schedule:
        return _no_schedule("sender_lag", "nothing to lag behind")
    lags_s = np.array([one.t_send_s - one.t_due_s for one in requests])
    own_s = percentile(lags_s - np.array(waits_s), 99)
    detail = f"p99 of send \u2212 due is {percentile(lags_s, 99) * 1e3:.1f} ms"
    if max(waits_s, default=0.0) > 0:
        detail += f", {own_s * 1e3:.1f} ms without the steps that ran when requests fell due"
    return Check(
        id="sender_lag",
        ok=own_s <= PAUSE_S,
        fatal=True,
        value=own_s,
        limit=PAUSE_S,
        detail=f"{detail}; {held_against(own_s, PAUSE_S)}",
    )


def held_against(lag_s: float, limit_s: float) -> str:
    """What a lag is beside its limit, in words: "at most" where it is more contradicts itself."""
    limit = f"the limit of {1e3 * limit_s:.1f} ms"
    return f"over {limit}" if lag_s > limit_s else f"within {limit}"


def check_rate(
    requests: Sequence[RequestRecord], waits_s: Sequence[float], *, on_schedule: bool
) -> Check:
    """The load that was sent must be the load that was asked for: as many requests a second, the
    waits for steps left out. What those did to the rate is a caution if it is much. waits_s,
    on_schedule: as above."""
    if len(requests) < 2 or not on_schedule:
        return _no_schedule("rate", "no rate was asked for")
    due_s = _span([one.t_due_s for one in requests])
    if due_s == 0:
        return Check(
            id="rate", ok=True, fatal=True, detail="every request was due at once: no rate"
        )
    sent_s = max(due_s, _span([one.t_send_s for one in requests]))
    own_s = max(
        due_s,
        _span([one.t_send_s - wait_s for one, wait_s in zip(requests, waits_s, strict=True)]),
    )
    share, met = due_s / own_s, due_s / sent_s
    gaps = len(requests) - 1
    sent = f"{gaps / sent_s:.3g} {counted_as(requests)}/s"
    detail = f"sent at {sent}, due at {gaps / due_s:.3g}"
    if share < RATE_SHARE and own_s - due_s <= PAUSE_S:
        detail += f"; the last was {1e3 * (own_s - due_s):.0f} ms late, of a short schedule"
        share, limit, ok = own_s - due_s, PAUSE_S, True
    elif share < RATE_SHARE or met >= RATE_SHARE:
        limit, ok = RATE_SHARE, share >= RATE_SHARE
    else:
        held = sum(wait_s > PAUSE_S for wait_s in waits_s)
        detail += (
            f"; the sender kept {gaps / own_s:.3g}, but steps that were running held "
            f"{held} {counted_as(requests)} back, by up to {max(waits_s):.3g} s"
        )
        if met < HELD_SHARE:
            return Check(
                id="rate",
                ok=False,
                fatal=False,
                value=met,
                limit=HELD_SHARE,
                detail=detail,
                advice="the engine met a slower load, in clumps",
            )
        limit, ok = RATE_SHARE, True
    return Check(id="rate", ok=ok, fatal=True, value=share, limit=limit, detail=detail)


def _no_schedule(name: str, so: str) -> Check:
    detail = f"requests were due when a slot freed: {so}"
    return Check(id=name, ok=True, fatal=True, detail=detail)


def _span(times_s: Sequence[float]) -> float:
    return max(times_s) - min(times_s)
