"""What a run was sent, in a phrase: a number of a serving system means nothing without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .format import count, is_present, number


def load_text(result: Mapping[str, Any]) -> str:
    """`azure-conv at 23.4 requests/s, 1 314 tokens in and 208 out on average`. result: the content
    of `result.json`; of what it does not say nothing is said."""
    workload = result["workload"]
    about = workload.get("description") or {}
    parts = (f"{workload.get('name') or 'requests'}{_arrivals(result['config'], about)}",)
    return ", ".join((*parts, *_lengths(about)))


def _arrivals(config: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    kind = (about.get("arrivals") or {}).get("kind")
    cap = config.get("max_concurrency")
    beside = f", at most {cap} at a time" if cap else ""
    for name, of in (("session_rate_per_s", "sessions"), ("request_rate_per_s", "requests")):
        if (rate_per_s := about.get(name)) is not None and is_present(rate_per_s):
            return f" at {number(rate_per_s)} {of}/s{beside}"
    if kind == "closed_loop" and cap:
        return f", {cap} at a time"
    return f", all at once{beside}" if kind == "at_once" else beside


def _lengths(about: Mapping[str, Any]) -> tuple[str, ...]:
    means = [(about.get(name) or {}).get("mean") for name in ("input_tokens", "output_tokens")]
    known = [count(round(mean)) for mean in means if mean is not None]
    if len(known) < len(means):
        return ()
    prompt, reply = known
    return (f"{prompt} tokens in and {reply} out on average",)
