"""The table of steps: `steps.parquet`, one row a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ...engines.kv.usage import KVSplit
from ...engines.trace import PhaseTimes, StepTrace
from ..metrics.kv import split_steps
from ..run.record import RequestRecord
from .columns import STEPS

if TYPE_CHECKING:
    import pandas as pd

STEP_COLUMNS = tuple(column.name for column in STEPS)
_KV_PARTS = tuple(part.name for part in fields(KVSplit))
_PHASES = tuple(phase.name for phase in fields(PhaseTimes))


def steps_frame(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    splits: Sequence[KVSplit] | None = None,
) -> pd.DataFrame:
    """One row a step. requests: for final lengths, which tell reserved from internal room.
    splits: what `split_steps` makes of them, where that is known already."""
    import pandas as pd

    splits = split_steps(requests, steps) if splits is None else splits
    return pd.DataFrame(_step_columns(steps, splits), columns=list(STEP_COLUMNS))


def _step_columns(steps: Sequence[StepTrace], splits: Sequence[KVSplit]) -> dict[str, list[Any]]:
    """By column: a long run has a hundred thousand steps, and a table is made of columns."""
    chunks = [step.chunks for step in steps]
    phases = [step.phases for step in steps]
    return {
        "index": [step.index for step in steps],
        "start_s": [step.start_s for step in steps],
        "end_s": [step.end_s for step in steps],
        "prefill_tokens": [one.prefill_tokens for one in chunks],
        "decode_tokens": [one.decode_tokens for one in chunks],
        "prefill_requests": [one.prefills for one in chunks],
        "decode_requests": [one.decode_tokens for one in chunks],
        "waiting": [step.waiting for step in steps],
        "running": [step.running for step in steps],
        "preempted": [len(step.preempted) for step in steps],
        "preempted_ids": [list(step.preempted) for step in steps],
        "refused": [len(step.refused) for step in steps],
        "recomputed_tokens": [sum(one.recomputed.values()) for one in chunks],
        "prefix_hit_tokens": [sum(one.cached.values()) for one in chunks],
        **{f"kv_{name}": list(map(attrgetter(name), splits)) for name in _KV_PARTS},
        "kv_capacity_tokens": [step.kv.capacity_tokens for step in steps],
        **{name: list(map(attrgetter(name), phases)) for name in _PHASES},
        "device_s": [step.device_s for step in steps],
        "replayed": [step.replayed for step in steps],
        "synchronous": [step.synchronous for step in steps],
        "dropped_ids": [list(step.dropped) for step in steps],
        "chunk_request_ids": [one.request_ids for one in chunks],
        "chunk_phases": [one.phases for one in chunks],
        "chunk_starts": [one.starts for one in chunks],
        "chunk_lengths": [one.lengths for one in chunks],
    }
