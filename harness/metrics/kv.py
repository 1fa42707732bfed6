"""How the KV cache was used over a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ...engines.kv.usage import KVSplit, joined, split, waste_share
from ...engines.trace import StepTrace
from ..result import KVSummary, Share
from ..run.record import RequestRecord, RequestStatus


@dataclass(frozen=True)
class KVPool:
    """The KV cache of an engine. kind: `paged` or `contiguous`."""

    kind: str
    capacity_tokens: int
    capacity_bytes: int
    bytes_per_token: int


def final_kv_tokens(
    requests: Sequence[RequestRecord], steps: Iterable[StepTrace]
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
    if requests and all(request.status is RequestStatus.OK for request in requests):
        return final
    for step in steps:
        holdings = step.kv.holdings
        for name, used in zip(holdings.request_ids, holdings.used, strict=True):
            if used > final.get(name, 0):
                final[name] = used
    return final


def split_steps(
    requests: Sequence[RequestRecord], steps: Sequence[StepTrace]
) -> tuple[KVSplit, ...]:
    """Each step's KV cache by state: `split` of `engines/kv/usage.py` for all steps at once.

    Raises KeyError and ValueError as it does.
    """
    final = final_kv_tokens(requests, steps)
    rows = [step.kv.holdings for step in steps]
    used, held = (
        np.fromiter(chain.from_iterable(getattr(one, name) for one in rows), np.int64)
        for name in ("used", "held")
    )
    names = chain.from_iterable(one.request_ids for one in rows)
    wanted = np.minimum(held, np.fromiter(map(final.__getitem__, names), np.int64))
    if np.any(used > wanted):
        # Rare, and a contradiction: the definition says whose.
        return tuple(split(step.kv, final) for step in steps)
    ends = np.cumsum([len(one) for one in rows])
    useful, wanted_sum, held_sum = (_sums(values, ends) for values in (used, wanted, held))
    return tuple(
        joined(step.kv, *counts)
        for step, *counts in zip(
            steps,
            useful.tolist(),
            (wanted_sum - useful).tolist(),
            (held_sum - wanted_sum).tolist(),
            strict=True,
        )
    )


def _sums(values: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of each run of `values` that ends before one of `ends`."""
    upto = np.append(0, np.cumsum(values))[np.append(0, ends).astype(np.int64)]
    return np.diff(upto)


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
