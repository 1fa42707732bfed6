"""From a spec to a plan: due times, lengths and prompts, each from its own stream of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .api import (
    LengthLimits,
    Plan,
    PlannedRequest,
    RequestShape,
    TextEncoder,
    Told,
    WorkloadError,
)
from .arrivals import due_times_s
from .contents import Drawn, Streams, contents_of
from .describe import describe
from .making import Making
from .processes import Seconds
from .prompts import checked_corpus
from .sessions import slots_of_rows
from .spec import (
    TEXTS,
    ExponentialRamp,
    LinearRamp,
    Replay,
    Stages,
    TraceLengths,
    WorkloadSpec,
)
from .synthetic import Content
from .traces import read_trace
from .traces.stored import is_stored

Traces = dict[Path, tuple[RequestShape, ...]]
# Arrivals that end by themselves, without a number of requests.
LASTING = LinearRamp | ExponentialRamp | Stages


def plan_workload(
    spec: WorkloadSpec,
    *,
    seed: int,
    corpus_token_ids: Sequence[int],
    limits: LengthLimits,
    vocab_size: int | None = None,
    encoder: TextEncoder | None = None,
    told: Told | None = None,
) -> Plan:
    """See `api.plan_workload`."""
    if seed < 0:
        raise WorkloadError("seed", seed, "an integer of 0 or more")
    corpus = checked_corpus(corpus_token_ids, vocab_size)
    traces = _read_traces(spec)
    streams = Streams(seed)
    num_requests = _num_requests(spec, traces)
    due_s = due_times_s(spec.arrivals, None, streams.arrivals) if num_requests is None else None
    if due_s is not None and (rows := _rows_in_order(spec, traces)) is not None:
        num_requests = _rows_that_begin(spec, rows, len(due_s))
    count = len(due_s) if num_requests is None and due_s is not None else num_requests
    assert count is not None
    drawn = Drawn(
        spec=spec,
        rows=_rows(spec, count, traces, streams),
        num_requests=num_requests,
        num_sessions=count if num_requests is None else None,
        corpus=corpus,
        limits=limits,
        vocab_size=vocab_size,
        encoder=encoder,
        making=Making(told, count),
    )
    contents, notes = contents_of(drawn, streams)
    begun = sum(one.after is None for one in contents)
    due_s = _due_times_s(spec, begun, traces, streams.arrivals) if due_s is None else due_s[:begun]
    requests = _requests(due_s, contents, spec.samples)
    return Plan(
        requests=requests,
        max_concurrency=spec.arrivals.max_concurrency,
        adjustments=(*spec.adjustments, *_trace_adjustments(spec, len(contents), traces), *notes),
        description=describe(spec, seed, due_s, requests),
    )


def _read_traces(spec: WorkloadSpec) -> Traces:
    parts = (spec.arrivals, spec.lengths)
    paths = {part.path for part in parts if isinstance(part, Replay | TraceLengths)}
    return {path: read_trace(path) for path in paths}


def _num_requests(spec: WorkloadSpec, traces: Traces) -> int | None:
    """As asked, or as many as the shortest trace that is read row by row has; None where the
    arrivals give the number."""
    in_order = _rows_in_order(spec, traces)
    rows = [] if in_order is None else [len(in_order)]
    if isinstance(spec.arrivals, Replay):
        # A later turn has no time to give, except to the row that waits in its place.
        replayed = traces[spec.arrivals.path]
        timed = [row for row in replayed if in_order is not None or row.t_due_s is not None]
        rows.append(len(timed))
    if spec.num_requests is None:
        return None if isinstance(spec.arrivals, LASTING) else min(rows, default=None)
    # Turns of a session take no row of their own from a trace of arrivals.
    if rows and spec.num_requests > min(rows) and spec.sessions is None:
        raise _too_few_rows(spec.num_requests, min(rows))
    return spec.num_requests


def _rows_in_order(spec: WorkloadSpec, traces: Traces) -> Sequence[RequestShape] | None:
    """The rows of which each request takes the next for its lengths, if it does."""
    match spec.lengths:
        case TraceLengths(path=path, order="file"):
            return traces[path]
    return None


def _rows_that_begin(spec: WorkloadSpec, rows: Sequence[RequestShape], most: int) -> int:
    """How many of the first rows there are before more than `most` wait for nobody."""
    if isinstance(spec.prompts, TEXTS):
        return min(len(rows), most)  # texts stand alone, whatever the session of their row
    waiting = 0
    for index, slot in enumerate(slots_of_rows(rows)):
        waiting += slot.after is not None
        if index + 1 - waiting > most:
            return index
    return len(rows)


def _too_few_rows(asked: int, rows: int) -> WorkloadError:
    expected = f"at most {rows}, the rows of the trace"
    return WorkloadError("num_requests", asked, expected, "is more than the trace has")


def _rows(
    spec: WorkloadSpec, count: int, traces: Traces, streams: Streams
) -> Sequence[RequestShape] | None:
    """The rows of a trace that requests are made of; None where lengths are of another kind. Rows
    that are drawn stand alone, whatever their session."""
    if not isinstance(spec.lengths, TraceLengths):
        return None
    trace = traces[spec.lengths.path]
    if spec.lengths.order == "file":
        return trace[:count]
    drawn = streams.lengths().integers(len(trace), size=count).tolist()
    return [replace(trace[at], session=None) for at in drawn]


def _due_times_s(
    spec: WorkloadSpec, begun: int, traces: Traces, rng: np.random.Generator
) -> Seconds | None:
    """Due times of what waits for nobody."""
    if not isinstance(spec.arrivals, Replay):
        return due_times_s(spec.arrivals, begun, rng)
    times_s = [row.t_due_s for row in traces[spec.arrivals.path] if row.t_due_s is not None]
    if begun > len(times_s):
        raise _too_few_rows(begun, len(times_s))
    return due_times_s(spec.arrivals, begun, rng, times_s[:begun])


def _requests(
    due_s: Seconds | None, contents: Sequence[Content], samples: int
) -> tuple[PlannedRequest, ...]:
    dues = iter([] if due_s is None else due_s.tolist())
    return tuple(
        PlannedRequest(
            index,
            next(dues, None) if one.after is None else None,
            one.prompt_token_ids,
            one.output_tokens,
            samples,
            one.after,
            one.think_s,
            one.messages,
        )
        for index, one in enumerate(contents)
    )


def _trace_adjustments(spec: WorkloadSpec, num_requests: int, traces: Traces) -> list[str]:
    notes: list[str] = []
    longest = max((len(rows) for rows in traces.values()), default=0)
    if num_requests < longest:
        sampled = isinstance(spec.lengths, TraceLengths) and spec.lengths.order == "sampled"
        which = f"{num_requests} rows drawn from" if sampled else f"first {num_requests} of"
        notes.append(f"{which} {longest} trace rows")
    if isinstance(spec.lengths, TraceLengths) and _is_silent_on_prefixes(spec.lengths, traces):
        notes.append("which prompts of the stored run began alike is not known: none do here")
    if isinstance(spec.lengths, TraceLengths):
        asked = traces[spec.lengths.path][0].samples
        if asked > spec.samples:
            notes.append(f"replies to a prompt: {spec.samples}, the stored run had {asked}")
    if isinstance(spec.arrivals, Replay) and spec.arrivals.time_scale != 1:
        notes.append(f"time scaled by {spec.arrivals.time_scale:g}")
    return notes


def _is_silent_on_prefixes(lengths: TraceLengths, traces: Traces) -> bool:
    """Whether it is the table of a run that was stored before tables said so."""
    rows = traces[lengths.path]
    return is_stored(lengths.path) and not any(row.prefix_block_tokens for row in rows)
