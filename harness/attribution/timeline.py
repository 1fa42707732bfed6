"""A run's steps as arrays, from live traces or from the stored table: one form for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...engines.trace import StepTrace
from .chunks import Chunks, OwnChunks, own_chunks
from .interference import Told, tell_apart
from .layout import PHASES, Floats, Layout, lay_out

if TYPE_CHECKING:
    import pandas as pd

Ints = NDArray[np.int64]
# Between the id of a request and the number of one of its samples.
SAMPLE_MARK = "#"


@dataclass(frozen=True)
class Timeline:
    """What attribution reads of a run.

    prefill_tokens, decode_tokens: [steps]. again_share: [steps] of its prefill tokens, those that
    a preemption had thrown away. told: the model time of each step told apart.
    own: the chunks of the requests that were asked about, and when they were preempted.
    """

    layout: Layout
    prefill_tokens: Ints
    decode_tokens: Ints
    again_share: Floats
    told: Told
    own: OwnChunks

    @property
    def steps(self) -> int:
        return len(self.prefill_tokens)

    def behind_prefills(self) -> NDArray[np.bool_]:
        """Which of the own chunks are decodes that stood behind another's prefill: in the step
        itself, or in a prompt step since the request's step before. A preempted request waits for
        itself."""
        own = self.own
        prompts = self.prefill_tokens > 0
        upto = np.append(0, np.cumsum(prompts))
        since = np.append(0, own.step[:-1] + 1)[: len(own)]
        waited = ~own.first & (own.lost_from_s == np.inf) & (upto[own.step] > upto[since])
        return own.decode & (waited | prompts[own.step])


def timeline_of_traces(request_ids: Sequence[str], steps: Sequence[StepTrace]) -> Timeline:
    """From the traces of a live run. request_ids: those whose latencies are to be split."""
    phase_times = attrgetter(*PHASES)
    phases = np.array([phase_times(step.phases) for step in steps], dtype=np.float64)
    columns = [step.chunks for step in steps]
    return _timeline(
        request_ids,
        start_s=np.array([step.start_s for step in steps], dtype=np.float64),
        end_s=np.array([step.end_s for step in steps], dtype=np.float64),
        phases=dict(zip(PHASES, phases.reshape(len(steps), len(PHASES)).T, strict=True)),
        chunk_ids=list(chain.from_iterable(chunks.request_ids for chunks in columns)),
        chunk_counts=[len(chunks) for chunks in columns],
        start=np.fromiter(chain.from_iterable(chunks.starts for chunks in columns), np.int64),
        length=np.fromiter(chain.from_iterable(chunks.lengths for chunks in columns), np.int64),
        prefills=[chunks.prefills for chunks in columns],
        preempted=[step.preempted for step in steps],
        again=np.array([sum(one.recomputed.values()) for one in columns], dtype=np.int64),
    )


def timeline_of_tables(request_ids: Sequence[str], steps: pd.DataFrame) -> Timeline:
    """From a stored run. steps: the table `STEP_COLUMNS` describes; of the columns of
    chunks it reads all but their phases, for a step's prefills stand in front."""
    return _timeline(
        request_ids,
        start_s=steps["start_s"].to_numpy(dtype=np.float64),
        end_s=steps["end_s"].to_numpy(dtype=np.float64),
        phases={name: steps[name].to_numpy(dtype=np.float64) for name in PHASES},
        chunk_ids=list(chain.from_iterable(steps["chunk_request_ids"])),
        chunk_counts=[len(ids) for ids in steps["chunk_request_ids"]],
        start=_flat(steps["chunk_starts"]),
        length=_flat(steps["chunk_lengths"]),
        prefills=steps["prefill_requests"].tolist(),
        preempted=list(steps["preempted_ids"]),
        again=steps["recomputed_tokens"].to_numpy(dtype=np.int64),
    )


def _flat(lists: pd.Series) -> Ints:
    parts = [np.asarray(one, dtype=np.int64) for one in lists]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _timeline(
    request_ids: Sequence[str],
    *,
    start_s: Floats,
    end_s: Floats,
    phases: Mapping[str, Floats],
    chunk_ids: Sequence[str],
    chunk_counts: Sequence[int],
    start: Ints,
    length: Ints,
    prefills: Sequence[int],
    preempted: Sequence[Sequence[str]],
    again: Ints,
) -> Timeline:
    """prefills: [steps] chunks that are no decodes, which stand behind them. again: [steps] tokens
    computed again."""
    count = len(start_s)
    position = {name: at for at, name in enumerate(request_ids)}
    chunks = Chunks(
        request=_positions(chunk_ids, position),
        step=np.repeat(np.arange(count), np.array(chunk_counts, dtype=np.int64)),
        start=start,
        length=length,
        decode=np.repeat(
            np.tile([False, True], count),
            [
                few
                for chunks, ahead in zip(chunk_counts, prefills, strict=True)
                for few in (ahead, chunks - ahead)
            ],
        ),
    )
    lost_ids = list(chain.from_iterable(preempted))
    lost_counts = np.array([len(ids) for ids in preempted], dtype=np.int64)
    prefill_tokens = _tokens(chunks, ~chunks.decode, count)
    decode_tokens = _tokens(chunks, chunks.decode, count)
    layout = lay_out(start_s, end_s, phases)
    return Timeline(
        layout=layout,
        prefill_tokens=prefill_tokens,
        decode_tokens=decode_tokens,
        again_share=np.minimum(again / np.maximum(prefill_tokens, 1), 1.0),
        told=tell_apart(prefill_tokens, decode_tokens, layout.model_time_s),
        own=own_chunks(
            _with_parents(chunks, chunk_ids, request_ids),
            lost_request=_positions(lost_ids, position),
            lost_step=np.repeat(np.arange(count), lost_counts),
            step_start_s=layout.start_s,
            prefill_tokens=prefill_tokens,
        ),
    )


def _positions(names: Sequence[str], position: Mapping[str, int]) -> Ints:
    """-1 for a name that has none."""
    return np.fromiter(map(position.get, names, repeat(-1)), np.int64, len(names))


def _tokens(chunks: Chunks, chosen: NDArray[np.bool_], steps: int) -> Ints:
    found = np.bincount(chunks.step[chosen], chunks.length[chosen], minlength=steps)
    return found.astype(np.int64)


def _with_parents(chunks: Chunks, chunk_ids: Sequence[str], request_ids: Sequence[str]) -> Chunks:
    """The chunks of the requests asked about, and for a sample its request's prefills before its
    own first chunk: they computed its prompt too."""
    known = np.flatnonzero(chunks.request >= 0)
    at, request = [known], [chunks.request[known]]
    samples = {
        position: name.partition(SAMPLE_MARK)[0]
        for position, name in enumerate(request_ids)
        if SAMPLE_MARK in name
    }
    if samples:
        prefills = np.flatnonzero(~chunks.decode)
        by_parent: dict[str, list[int]] = {}
        for chunk in prefills.tolist():
            by_parent.setdefault(chunk_ids[chunk], []).append(chunk)
        first = np.full(len(request_ids), len(chunks.step) and chunks.step[-1] + 1)
        np.minimum.at(first, chunks.request[known], chunks.step[known])
        for position, parent in samples.items():
            shared = np.array(by_parent.get(parent, []), dtype=np.int64)
            shared = shared[chunks.step[shared] < first[position]]
            at.append(shared)
            request.append(np.full(len(shared), position))
    chosen = np.concatenate(at)
    return Chunks(
        request=np.concatenate(request),
        step=chunks.step[chosen],
        start=chunks.start[chosen],
        length=chunks.length[chosen],
        decode=chunks.decode[chosen],
    )
