"""How the KV cache was used over a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...engines.kv.usage import KVSplit, split, waste_share
from ...engines.trace import StepTrace
from ..record import RequestRecord
from ..result import KVSummary, Share


@dataclass(frozen=True)
class KVPool:
    """The KV cache of an engine. kind: `paged` or `contiguous`."""

    kind: str
    capacity_tokens: int
    capacity_bytes: int
    bytes_per_token: int


def final_kv_tokens(
    requests: Iterable[RequestRecord], steps: Iterable[StepTrace]
) -> dict[str, int]:
    """The most KV each request ever had, in tokens, by request id.

    Prompt + output - 1 for one that ended: the last token is sampled but never fed back, so its
    keys and values are not computed. For one that did not, what the steps show it reached.
    """
    final = {
        request.request_id: request.input_tokens + request.output_tokens - 1
        for request in requests
        if request.output_tokens
    }
    for step in steps:
        holdings = step.kv.holdings
        for name, used in zip(holdings.request_ids, holdings.used, strict=True):
            if used > final.get(name, 0):
                final[name] = used
    return final


def split_steps(
    requests: Iterable[RequestRecord], steps: Sequence[StepTrace]
) -> tuple[KVSplit, ...]:
    """Each step's KV cache by state; see `engines/kv/usage.py`."""
    final = final_kv_tokens(requests, steps)
    return tuple(split(step.kv, final) for step in steps)


def summarise_kv(
    pool: KVPool, splits: Sequence[KVSplit], durations_s: Sequence[float]
) -> KVSummary:
    """Time-weighted mean and peak of each state, and the waste share.

    splits: one a step, standing for that step's duration: room is taken before a step computes and
    given back after it. Time when the engine has nothing to compute does not count.
    Elsewhere: nobody; servers export only how many blocks are taken.
    """

    def share(tokens: Callable[[KVSplit], int]) -> Share:
        values = [tokens(parts) for parts in splits]
        total_s = sum(durations_s)
        weighted = sum(value * s for value, s in zip(values, durations_s, strict=True))
        return Share(mean=weighted / total_s if total_s else 0.0, peak=max(values, default=0))

    return KVSummary(
        kind=pool.kind,
        capacity_tokens=pool.capacity_tokens,
        capacity_bytes=pool.capacity_bytes,
        bytes_per_token=pool.bytes_per_token,
        useful_tokens=share(lambda parts: parts.useful_tokens),
        reserved_tokens=share(lambda parts: parts.reserved_tokens),
        internal_tokens=share(lambda parts: parts.internal_tokens),
        external_tokens=share(lambda parts: parts.external_tokens),
        shared_tokens=share(lambda parts: parts.shared_tokens),
        waste_share=waste_share(zip(splits, durations_s, strict=True)),
    )
