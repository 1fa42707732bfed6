"""Whether the client kept up: what it sends late, or reads late, is no time of the server's.

A late send is in every TTFT. A chunk that is read late by L makes the gap before it longer by L and
the one after it shorter, and the span from a reply's first token to its last by L at most. So each
of the three is held against the lag by itself: a wait of 20 s hides a lag of 1 s, and gaps of 20 ms
do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..result import LATE_GAPS, LATE_SPANS, Check, ClientLoad
from ..run.lateness import held_against
from ..run.record import RequestRecord
from ..run.validity import Asked, passed, served_of
from ..stats.percentiles import percentile

# What a send or the event loop may be late by, and by how much of the median TTFT if that is more:
# against a wait of seconds, 20 ms are nothing.
LAG_S = 0.010
LAG_SHARE = 0.05
# A loop of Python on a machine of others' is no better, whatever it measures.
LEAST_LAG_S = 0.001
CPU_SHARE = 0.90
# A client that computes for less of the time was not late because of its own work.
BUSY_SHARE = 0.5


def check_send_lag(requests: Sequence[RequestRecord], plan: Asked) -> Check:
    """A client that sends late measures itself."""
    if not requests or not plan.sends_on_schedule:
        return passed("sender_lag", "requests were due when a slot freed: there is no schedule")
    lag_s = percentile([one.t_send_s - one.t_due_s for one in requests], 99)
    limit_s = lag_limit_s(requests)
    return Check(
        id="sender_lag",
        ok=lag_s <= limit_s,
        fatal=True,
        value=lag_s,
        limit=limit_s,
        detail=f"p99 of send \u2212 due is {1e3 * lag_s:.1f} ms, {held_against(lag_s, limit_s)}",
    )


def check_client(requests: Sequence[RequestRecord], client: ClientLoad) -> Check:
    """A client that is the bottleneck shows a slower server: 44 tokens a second instead of 486."""
    limit_s = lag_limit_s(requests)
    lag_s = client.loop_lag_p99_s
    ok = lag_s <= limit_s and client.cpu_share <= CPU_SHARE
    detail = (
        f"the client's event loop was late by {1e3 * lag_s:.1f} ms at p99, "
        f"{held_against(lag_s, limit_s)}; it took {100 * client.cpu_share:.0f} % of a core"
    )
    if not ok and client.cpu_share > BUSY_SHARE:
        detail += f"; more --processes than {client.processes} would raise its limit"
    elif not ok:
        detail += ", so it was kept waiting: leave it a core, or measure when nobody else computes"
    return Check(id="client_overload", ok=ok, fatal=True, value=lag_s, limit=limit_s, detail=detail)


def lag_limit_s(requests: Sequence[RequestRecord]) -> float:
    """How late the client may be, for its TTFT to be the server's. From the send: what is late at
    sending would raise its own limit."""
    waits_s = [
        one.t_first_s - one.t_send_s for one in served_of(requests) if one.t_first_s is not None
    ]
    return max(LAG_S, LAG_SHARE * percentile(waits_s, 50)) if waits_s else LAG_S


def check_paces(requests: Sequence[RequestRecord], client: ClientLoad) -> tuple[Check, Check]:
    """Whether paces are the server's: those of whole replies, and single gaps.

    By p99 of the lag at most one gap in a hundred is longer by more: a median holds then, and a p99
    of gaps may be off by that lag.
    """
    chunks_s = [np.asarray(one.chunk_times_s) for one in served_of(requests)]
    chunks_s = [times_s for times_s in chunks_s if len(times_s) > 1]
    spans_s = np.array([times_s[-1] - times_s[0] for times_s in chunks_s])
    gaps_s = np.concatenate([np.diff(one) for one in chunks_s]) if chunks_s else np.empty(0)
    return (
        _check_pace(LATE_SPANS, "span from a reply's first token to its last", spans_s, client),
        # Chunks that came together are none apart, however late.
        _check_pace(LATE_GAPS, "gap between chunks", gaps_s[gaps_s > 0], client),
    )


# What is then not compared: `comparison/enough.py`.
_SPOILT = {
    LATE_SPANS: "TPOT, and means and medians of ITL, are not compared",
    LATE_GAPS: "high percentiles of ITL are not compared",
}


def _check_pace(name: str, what: str, times_s: NDArray[np.float64], client: ClientLoad) -> Check:
    if not len(times_s):
        return passed(name, f"no {what} was seen")
    middle_s = float(np.median(times_s))
    lag_s, limit_s = client.loop_lag_p99_s, max(LEAST_LAG_S, LAG_SHARE * middle_s)
    ok = lag_s <= limit_s
    detail = (
        f"the client's event loop was late by {1e3 * lag_s:.1f} ms at p99, "
        f"{held_against(lag_s, limit_s)}: the median {what} is {1e3 * middle_s:.1f} ms"
    )
    if not ok:
        detail += f"; {_SPOILT[name]}"
    return Check(id=name, ok=ok, fatal=False, value=lag_s, limit=limit_s, detail=detail)
