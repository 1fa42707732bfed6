"""What a result keeps of the attribution: means by part, and the slowest of a run."""

from __future__ import annotations

import math

import numpy as np

from ..result import Attribution, Band, Parts, SlowRequest, SlowToken
from .latencies import Attributed, Latencies
from .layout import Floats
from .partition import PARTS, Ints
from .timeline import Timeline

# Rows of a result's tables of the slowest.
KEPT = 20


def summarise_parts(found: Attributed, timeline: Timeline) -> Attribution | None:
    """The section of the result; None where no request was served."""
    if len(found.ttft) == 0:
        return None
    told, paces = timeline.told, found.streams.parts / found.gaps[:, None]
    computed = (timeline.prefill_tokens > 0) | (timeline.decode_tokens > 0)
    return Attribution(
        ttft=_ttft_bands(found.ttft),
        tpot=parts_of(paces.mean(axis=0)) if len(paces) else None,
        itl=_itl_bands(found),
        slow_token_s=found.slow_token_s,
        slowest_requests=slowest_requests(found, KEPT),
        slowest_tokens=slowest_tokens(found, KEPT),
        mixed_step_share=_share(told.mixed, of=computed),
        delayed_decode_step_share=_delayed_share(timeline),
        mixed_steps_by_evidence=int(np.count_nonzero(told.by_evidence)),
        mixed_steps_by_tokens=int(np.count_nonzero(told.mixed & ~told.by_evidence)),
    )


def parts_of(row: Floats) -> Parts:
    """One row of parts by name. row: [7], as `PARTS`."""
    return Parts(**{f"{name}_s": float(value) for name, value in zip(PARTS, row, strict=True)})


def slowest_requests(found: Attributed, most: int) -> tuple[SlowRequest, ...]:
    """The served requests with the longest TTFT, longest first."""
    intervals = found.ttft.intervals
    return tuple(
        SlowRequest(
            request_id=found.records[int(intervals.request[at])].request_id,
            t_due_s=float(intervals.start_s[at]),
            parts=parts_of(found.ttft.parts[at]),
        )
        for at in _longest(intervals.length_s, most).tolist()
    )


def slowest_tokens(found: Attributed, most: int) -> tuple[SlowToken, ...]:
    """The longest of the slow token gaps, longest first."""
    intervals = found.slow.intervals
    return tuple(
        SlowToken(
            request_id=found.records[int(intervals.request[at])].request_id,
            token=int(found.slow_tokens[at]),
            time_s=float(intervals.end_s[at]),
            parts=parts_of(found.slow.parts[at]),
        )
        for at in _longest(intervals.length_s, most).tolist()
    )


def _longest(length_s: Floats, most: int) -> Ints:
    return np.argsort(-length_s, kind="stable")[:most]


def _ttft_bands(ttft: Latencies) -> tuple[Band, ...]:
    order = np.argsort(ttft.length_s, kind="stable")
    count = len(order)
    middle = order[math.floor(0.45 * (count - 1)) : math.ceil(0.55 * (count - 1)) + 1]
    slowest = order[count - max(1, count // 100) :]
    chosen = {"mean": order, "p50": middle, "p99": slowest}
    return tuple(_band(name, ttft[which]) for name, which in chosen.items())


def _itl_bands(found: Attributed) -> tuple[Band, ...]:
    """The mean of all gaps from the streams they add up to, so that each need not be split."""
    gaps = int(found.gaps.sum())
    if gaps == 0:
        return ()
    mean = Band(name="mean", count=gaps, parts=parts_of(found.streams.parts.sum(axis=0) / gaps))
    slow = (_band("slow", found.slow),) if len(found.slow) else ()
    return (mean, *slow, _band("p99", found.longest))


def _band(name: str, latencies: Latencies) -> Band:
    parts = parts_of(latencies.parts.mean(axis=0))
    return Band.model_validate({"name": name, "count": len(latencies), "parts": parts})


def _delayed_share(timeline: Timeline) -> float:
    """Decode steps where someone who decodes stood behind another's prefill."""
    delayed = np.zeros(timeline.steps, dtype=np.bool_)
    delayed[timeline.own.step[timeline.behind_prefills()]] = True
    return _share(delayed, of=timeline.decode_tokens > 0)


def _share(which: np.ndarray, *, of: np.ndarray) -> float:
    whole = np.count_nonzero(of)
    return np.count_nonzero(which & of) / whole if whole else 0.0
