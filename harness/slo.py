"""Service-level objectives: what `--slo` says, as a limit in seconds for each metric."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from ..engines.errors import ConfigError, unknown_name
from .metrics.goodput import SLO_METRICS
from .metrics.queue import QueueTime
from .units import nearest, parse_seconds


def _server(ttft_ms: float, tpot_ms: float) -> dict[str, float]:
    return {"ttft": ttft_ms / 1000, "tpot": tpot_ms / 1000}


# MLPerf Inference, Server and Interactive scenarios: limits for the p99 of TTFT and of TPOT. Here
# they judge each request; both p99s are kept if 99 % of the requests meet both.
PRESETS: dict[str, dict[str, float]] = {
    "llama2-70b": _server(2000, 200),
    "llama2-70b-interactive": _server(450, 40),
    "llama3.1-8b": _server(2000, 100),
    "llama3.1-8b-interactive": _server(500, 30),
    "llama3.1-405b": _server(6000, 175),
    "llama3.1-405b-interactive": _server(4500, 80),
    "deepseek-r1": _server(2000, 80),
    "deepseek-r1-interactive": _server(1500, 15),
    "gpt-oss-120b": _server(3000, 80),
    "gpt-oss-120b-interactive": _server(2000, 15),
    "sub-100ms": {"ttft": 0.1},
}

_LIMIT = re.compile(r"(?P<metric>[^:=]+)[:=](?P<limit>.+)")
_PRESET = f"a preset: {', '.join(PRESETS)}"
_FORM = f"METRIC:LIMIT[,…] such as ttft:200ms,tpot:50ms, or {_PRESET}"
# What a command that cannot do without limits asks for.
SLO_WANTED = f"limits, such as ttft:500ms,tpot:50ms, or {_PRESET}"


def parse_slo(text: str) -> dict[str, float]:
    """Limits in seconds by metric id, from a preset's name or `ttft:200ms,tpot=0.05s`.

    A limit has a unit: 200 could as well be meant as milliseconds. Raises ConfigError for `slo`.
    """
    if text.strip() in PRESETS:
        return dict(PRESETS[text.strip()])
    limits: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise ConfigError("slo", part, _FORM, nearest(part, PRESETS))
        metric = match["metric"].strip()
        if metric not in SLO_METRICS:
            raise unknown_name("slo", metric, SLO_METRICS)
        if metric in limits:
            raise ConfigError("slo", part, f"one limit for {metric}")
        limits[metric] = _limit_s(match["limit"].strip())
    return limits


def check_seen_by_a_client(slo: Collection[str]) -> None:
    """Raises ConfigError where a limit asks about what happens inside an engine that only replies
    are seen of: no request of it could be judged."""
    if QueueTime.id in slo:
        seen = ", ".join(name for name in SLO_METRICS if name != QueueTime.id)
        raise ConfigError("slo", QueueTime.id, f"limits on what a client sees: {seen}")


def _limit_s(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number < math.inf:
        raise ConfigError("slo", text, f"a unit: {text}ms or {text}s")
    return parse_seconds("slo", text, "a positive time such as 200ms or 0.2s")
