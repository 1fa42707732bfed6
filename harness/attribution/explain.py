"""One stored run asked again: where one request's latency went, or that of the slowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...engines.errors import ConfigError, unknown_name
from ..result import Parts, SlowRequest, SlowToken
from ..run.record import RequestRecord
from .latencies import Attributed, attribute, is_served
from .summary import parts_of, slowest_requests, slowest_tokens
from .timeline import timeline_of_tables

if TYPE_CHECKING:
    import pandas as pd


class RequestParts(BaseModel):
    """One request. tpot: the mean of its gaps, None with one token. slow_tokens: its longest gaps
    of those longer than slow_token_s, longest first; slow_gaps: how many those are."""

    model_config = ConfigDict(frozen=True)

    request_id: str
    ttft: Parts
    tpot: Parts | None
    slow_token_s: float | None
    slow_gaps: int
    slow_tokens: tuple[SlowToken, ...]


class SlowestParts(BaseModel):
    """The slowest of a run, longest first."""

    model_config = ConfigDict(frozen=True)

    slowest_requests: tuple[SlowRequest, ...]
    slowest_tokens: tuple[SlowToken, ...]


def explain_request(
    records: Sequence[RequestRecord], steps: pd.DataFrame, request_id: str, most: int
) -> RequestParts:
    """steps: the stored table. most: slow tokens to keep. Raises ConfigError for `request`: a name
    the run does not have, or one that was not served."""
    position = _served(records, request_id)
    found = _attributed(records, steps)
    (at,) = np.flatnonzero(found.ttft.intervals.request == position)
    slow = found.slow_of(position)
    stream = np.flatnonzero(found.streams.intervals.request == position)
    tpot = None
    if len(stream):
        gaps = int(found.gaps[stream[0]])
        tpot = parts_of(found.streams.parts[stream[0]] / gaps)
    return RequestParts(
        request_id=request_id,
        ttft=parts_of(found.ttft.parts[at]),
        tpot=tpot,
        slow_token_s=found.slow_token_s,
        slow_gaps=len(slow.slow),
        slow_tokens=slowest_tokens(slow, most),
    )


def explain_slowest(
    records: Sequence[RequestRecord], steps: pd.DataFrame, most: int
) -> SlowestParts:
    """steps: the stored table. most: requests, and tokens, to keep."""
    if most < 1:
        raise ConfigError("slowest", most, "at least 1")
    found = _attributed(records, steps)
    return SlowestParts(
        slowest_requests=slowest_requests(found, most), slowest_tokens=slowest_tokens(found, most)
    )


def _attributed(records: Sequence[RequestRecord], steps: pd.DataFrame) -> Attributed:
    names = [record.request_id for record in records]
    return attribute(records, timeline_of_tables(names, steps))


def _served(records: Sequence[RequestRecord], request_id: str) -> int:
    for position, record in enumerate(records):
        if record.request_id == request_id:
            if is_served(record):
                return position
            raise ConfigError("request", request_id, f"one that was served; it is {record.status}")
    if len(records) > 20:
        ends = f"one of {records[0].request_id} to {records[-1].request_id}"
        raise ConfigError("request", request_id, ends)
    raise unknown_name("request", request_id, (record.request_id for record in records))
