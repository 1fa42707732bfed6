"""What a server said of itself while it was measured: its queues and its KV cache over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .format import as_sentence, count, number, percent
from .model import Axis, Chart, Panel, Run, Series, Table
from .tables import table

_GAUGES = (("running", "Running", "running"), ("waiting", "Waiting", "waiting"))


def over_time(run: Run) -> Chart | None:
    """Requests running and waiting, and the share of the KV cache in use, as it was read."""
    found = run.result.get("server_metrics")
    if not found or len(found["time_s"]) < 2:
        return None
    series = found["series"]
    panels: list[Panel] = []
    queues = tuple(
        _series(name, role, found["time_s"], series[key])
        for key, name, role in _GAUGES
        if key in series
    )
    if queues:
        panels.append(Panel(Axis("Requests at the server"), queues))
    if "kv_used_share" in series:
        used = _series("KV cache in use", "kv_useful", found["time_s"], series["kv_used_share"])
        shares = tuple(100 * value for value in used.y)
        held = Series(used.name, used.role, "step", used.x, shares)
        panels.append(Panel(Axis("KV cache in use", "%", high=100.0), (held,)))
    if not panels:
        return None
    return Chart(
        id="server-own",
        title="What the server said of itself",
        reading=_reading(found["summary"]),
        x=Axis("Time", "s"),
        panels=tuple(panels),
        note=f"{count(len(found['time_s']))} readings of its metrics; what happened between two is "
        "not seen, and the definitions are the server's.",
    )


def summary(run: Run) -> Table | None:
    """What its metrics came to; None if none were read."""
    found = run.result.get("server_metrics")
    if not found or not found["summary"]:
        return None
    known = found["summary"]
    rows = [
        (label, percent(known[name]) if share else number(known[name]))
        for name, label, share in (
            ("running_mean", "Requests running, mean", False),
            ("running_peak", "Requests running, peak", False),
            ("waiting_mean", "Requests waiting, mean", False),
            ("waiting_peak", "Requests waiting, peak", False),
            ("kv_used_share_mean", "KV cache in use, mean", True),
            ("kv_used_share_peak", "KV cache in use, peak", True),
            ("preemptions", "Preemptions", False),
            ("prefix_hit_tokens", "Prefix hit tokens", False),
            ("prefix_hit_share", "Prefix hits, of tokens looked up", True),
        )
        if name in known
    ]
    rows.append(("Readings", count(known["scrapes"])))
    if found["failed_scrapes"]:
        rows.append(("Readings that failed", count(found["failed_scrapes"])))
    trouble = f"The first that failed: {found['trouble']}." if found["trouble"] else ""
    return table(
        "server-own-summary", "The server's own metrics", ("What", "Value"), rows, note=trouble
    )


def _series(
    name: str, role: str, times_s: Sequence[float], values: Sequence[float | None]
) -> Series:
    known = [(at, value) for at, value in zip(times_s, values, strict=True) if value is not None]
    return Series(
        name, role, "step", tuple(at for at, _ in known), tuple(float(value) for _, value in known)
    )


def _reading(known: Mapping[str, Any]) -> str:
    said = []
    if "running_mean" in known:
        said.append(f"{number(known['running_mean'])} requests ran on average")
    if "waiting_peak" in known:
        said.append(f"{count(math.ceil(known['waiting_peak']))} waited at most")
    if "kv_used_share_peak" in known:
        said.append(f"{percent(known['kv_used_share_peak'])} of the KV cache was in use at most")
    text = ", ".join(said)
    return as_sentence(text) if text else ""
