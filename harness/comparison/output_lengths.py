"""Whether replies of two runs were as long, where a model could end them: what takes time, and what
is counted, is then not the same work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...reports.format import listed
from ..metrics import CostPerMillionTokens, Goodput, GoodputShare, rate_metrics
from ..metrics.e2el import EndToEndLatency
from ..result import Result
from .quantities import SAME

_OF_LENGTHS = frozenset(
    one.id
    for one in (
        *rate_metrics({}),
        *(Goodput, GoodputShare, EndToEndLatency, CostPerMillionTokens),
    )
)


def may_end_early(result: Result) -> bool:
    """Whether the lengths of its replies were the model's choice."""
    return result.target is not None and result.target.output_lengths == "at-most"


def other_work(quantity_id: str, one: Result, other: Result) -> str:
    """Why a quantity of two runs is of replies of other lengths; empty if it is not. Of runs that
    were not sent the same requests lengths differ by chance, which intervals cover."""
    if quantity_id not in _OF_LENGTHS or not (may_end_early(one) or may_end_early(other)):
        return ""
    alike = may_end_early(one) == may_end_early(other)
    if alike and one.workload.fingerprint != other.workload.fingerprint:
        return ""
    lengths = [_mean_tokens(each) for each in (one, other)]
    # Replies that are longer move a rate or a latency by as much.
    if None in lengths or _within(lengths, SAME):
        return ""
    return f"replies had {_told(lengths)} tokens on average, for a model could end them"


def length_warnings(names: Sequence[str], results: Sequence[Result]) -> Iterator[str]:
    """Who could end replies early, where their lengths are not the same."""
    early = [name for name, one in zip(names, results, strict=True) if may_end_early(one)]
    lengths = [_mean_tokens(one) for one in results]
    if early and not _within(lengths, 0.0):
        yield (
            f"replies of {listed(early)} could end early, and had {_told(lengths)} tokens on "
            "average: throughput and E2EL are not of the same work"
        )


def _mean_tokens(result: Result) -> float | None:
    counters = result.counters
    return counters.output_tokens / counters.requests_ok if counters.requests_ok else None


def _within(lengths: Sequence[float | None], share: float) -> bool:
    known = [one for one in lengths if one is not None]
    return not known or max(known) <= (1 + share) * min(known)


def _told(lengths: Sequence[float | None]) -> str:
    return " / ".join("no" if one is None else f"{one:.4g}" for one in lengths)
