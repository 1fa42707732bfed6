"""What an analysis of many runs keeps of each one's attribution (`harness/attribution/`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..attribution import PARTS, attribute, timeline_of_tables
from ..run.record import RequestRecord

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUEUE = PARTS.index("queue")


@dataclass(frozen=True)
class Account:
    """Where the time of each served request went, in seconds of each of `PARTS`.

    first: [requests, 7], from due to the first token. stream: [requests, 7], from there to the
    last token. gaps: [requests], tokens after the first. before_s: [requests], due to scheduled:
    of the queue, what is spent outside the engine. worst_gaps: [gaps, 7], the longest hundredth of
    all gaps between tokens. behind: how many tokens a prefill of another stood before.
    """

    first: Floats
    stream: Floats
    gaps: Ints
    before_s: Floats
    worst_gaps: Floats
    behind: int

    def __len__(self) -> int:
        return len(self.first)

    @property
    def ttft_s(self) -> Floats:
        return self.first.sum(axis=1)

    @property
    def whole(self) -> Floats:
        """[requests, 7], from due to the last token."""
        return self.first + self.stream

    @property
    def resident(self) -> Floats:
        """[requests, 7], from scheduled to the last token: while it takes a place in the engine."""
        found = self.whole
        found[:, QUEUE] -= self.before_s
        return found


def account(records: Sequence[RequestRecord], steps: pd.DataFrame) -> Account:
    """The accounts of the served requests, in their order. steps: as a table."""
    timeline = timeline_of_tables([one.request_id for one in records], steps)
    found = attribute(records, timeline)
    served = found.ttft.intervals.request
    stream, gaps = np.zeros_like(found.ttft.parts), np.zeros(len(served), dtype=np.int64)
    several = np.searchsorted(served, found.streams.intervals.request)
    stream[several], gaps[several] = found.streams.parts, found.gaps
    scheduled_s = np.array([records[at].t_scheduled_s for at in served], dtype=np.float64)
    return Account(
        first=found.ttft.parts,
        stream=stream,
        gaps=gaps,
        before_s=scheduled_s - found.ttft.intervals.start_s,
        worst_gaps=found.longest.parts,
        behind=int(np.count_nonzero(timeline.behind_prefills())),
    )
