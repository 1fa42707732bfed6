"""What a run's steps computed, as a digest, and how long they took."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SCHEDULE = (
    *("prefill_tokens", "decode_tokens", "prefill_requests", "decode_requests"),
    *("waiting", "running", "preempted", "recomputed_tokens"),
)


@dataclass(frozen=True)
class Work:
    """schedule: equal for runs whose steps computed the same tokens in the same order.
    spent_s: of all steps."""

    schedule: str
    spent_s: float


def work_of(steps: pd.DataFrame) -> Work:
    digest = hashlib.sha256()
    for name in _SCHEDULE:
        digest.update(steps[name].to_numpy(dtype="int64").tobytes())
    return Work(digest.hexdigest(), float((steps["end_s"] - steps["start_s"]).sum()))
