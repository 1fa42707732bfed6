"""How long requests waited although the batch and its token budget had room for one more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

# A queue is made in little more than this share of the time: in the rest nobody waits.
QUEUE_BLOCKED = 0.01


@dataclass(frozen=True)
class KeptOut:
    """Shares of step time in which a request waited like that, by what kept it out.

    by_memory: the KV pool had no room for it. by_batch: a static batch had not ended.
    """

    by_memory: float
    by_batch: float


def kept_out(steps: pd.DataFrame, config: Mapping[str, Any]) -> KeptOut:
    """Of a run's steps, by its configuration."""
    duration_s = (steps["end_s"] - steps["start_s"]).to_numpy(dtype=np.float64)
    tokens = steps["prefill_tokens"] + steps["decode_tokens"]
    waited = (
        (steps["waiting"] > 0)
        & (steps["running"] < int(config["max_num_seqs"]))
        & (tokens < int(config["max_num_batched_tokens"]))
        & (steps["prefill_tokens"] == 0)
    ).to_numpy(dtype=bool)
    whole_s = float(duration_s.sum())
    share = float(duration_s[waited].sum()) / whole_s if whole_s else 0.0
    return KeptOut(0.0, share) if config.get("batching") == "static" else KeptOut(share, 0.0)
