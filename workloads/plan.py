"""From a spec to a plan: due times, lengths and prompts, each from its own stream of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .api import LengthLimits, Plan, PlannedRequest, RequestShape, WorkloadError
from .arrivals import Seconds, due_times_s, request_rate_per_s
from .fit import fit_lengths
from .lengths import Tokens, sample_pairs, trace_pairs
from .prompts import PrefixBlocks, checked_corpus, cut_prompts, draw_offsets
from .spec import Replay, SampledLengths, TraceLengths, WorkloadSpec
from .traces import read_trace

Traces = dict[Path, tuple[RequestShape, ...]]


def plan_workload(
    spec: WorkloadSpec,
    *,
    seed: int,
    corpus_token_ids: Sequence[int],
    limits: LengthLimits,
    vocab_size: int | None = None,
) -> Plan:
    """See `api.plan_workload`."""
    if seed < 0:
        raise WorkloadError("seed", seed, "an integer of 0 or more")
    corpus = checked_corpus(corpus_token_ids, vocab_size)
    traces = _read_traces(spec)
    num_requests = _num_requests(spec, traces)
    arrival_rng, length_rng, prompt_rng = np.random.default_rng(seed).spawn(3)

    due_s = _due_times_s(spec, num_requests, traces, arrival_rng)
    drawn, rows = _draw_pairs(spec, num_requests, traces, length_rng)
    pairs, clipped = fit_lengths(drawn, limits, spec.fit)
    offsets = draw_offsets(num_requests, len(corpus), prompt_rng)
    blocks = PrefixBlocks(corpus)
    prompts = cut_prompts(
        corpus,
        offsets,
        pairs[:, 0].tolist(),
        spec.prompts.shared_prefix_tokens,
        [blocks.tokens(row) for row in rows],
    )
    return Plan(
        requests=_requests(due_s, prompts, pairs, spec.samples),
        max_concurrency=spec.arrivals.max_concurrency,
        adjustments=(
            *spec.adjustments,
            *_trace_adjustments(spec, num_requests, traces),
            *clipped,
            *_prompt_adjustments(num_requests, len(corpus)),
        ),
        description=_describe(spec, seed, due_s, pairs),
    )


def _read_traces(spec: WorkloadSpec) -> Traces:
    parts = (spec.arrivals, spec.lengths)
    paths = {part.path for part in parts if isinstance(part, Replay | TraceLengths)}
    return {path: read_trace(path) for path in paths}


def _num_requests(spec: WorkloadSpec, traces: Traces) -> int:
    """As asked, or as many as the shortest trace that is read row by row has."""
    rows = [
        len(traces[part.path])
        for part in (spec.arrivals, spec.lengths)
        if isinstance(part, Replay) or (isinstance(part, TraceLengths) and part.order == "file")
    ]
    if spec.num_requests is None:
        return min(rows)
    if rows and spec.num_requests > min(rows):
        raise WorkloadError(
            "num_requests",
            spec.num_requests,
            f"at most {min(rows)}, the rows of the trace",
            "is more than the trace has",
        )
    return spec.num_requests


def _due_times_s(
    spec: WorkloadSpec, num_requests: int, traces: Traces, rng: np.random.Generator
) -> Seconds | None:
    if not isinstance(spec.arrivals, Replay):
        return due_times_s(spec.arrivals, num_requests, rng)
    rows = traces[spec.arrivals.path][:num_requests]
    trace_s = [row.t_due_s for row in rows if row.t_due_s is not None]
    return due_times_s(spec.arrivals, num_requests, rng, trace_s)


def _draw_pairs(
    spec: WorkloadSpec, num_requests: int, traces: Traces, rng: np.random.Generator
) -> tuple[Tokens, Sequence[RequestShape]]:
    """Lengths, and the rows of the trace that they come from, if any."""
    match spec.lengths:
        case SampledLengths() as lengths:
            correlation = lengths.correlation
            return sample_pairs(num_requests, lengths.input, lengths.output, correlation, rng), ()
        case TraceLengths(path=path, order="file"):
            rows = traces[path][:num_requests]
        case TraceLengths(path=path):
            trace = traces[path]
            rows = [trace[at] for at in rng.integers(len(trace), size=num_requests).tolist()]
    return trace_pairs(rows), rows


def _requests(
    due_s: Seconds | None, prompts: Sequence[tuple[int, ...]], pairs: Tokens, samples: int
) -> tuple[PlannedRequest, ...]:
    dues: Sequence[float | None] = [None] * len(prompts) if due_s is None else due_s.tolist()
    outputs: list[int] = pairs[:, 1].tolist()
    return tuple(
        PlannedRequest(index, due, prompt, output, samples)
        for index, (due, prompt, output) in enumerate(zip(dues, prompts, outputs, strict=True))
    )


def _trace_adjustments(spec: WorkloadSpec, num_requests: int, traces: Traces) -> list[str]:
    notes: list[str] = []
    longest = max((len(rows) for rows in traces.values()), default=0)
    if num_requests < longest:
        sampled = isinstance(spec.lengths, TraceLengths) and spec.lengths.order == "sampled"
        which = f"{num_requests} rows drawn from" if sampled else f"first {num_requests} of"
        notes.append(f"{which} {longest} trace rows")
    if isinstance(spec.arrivals, Replay) and spec.arrivals.time_scale != 1:
        notes.append(f"time scaled by {spec.arrivals.time_scale:g}")
    return notes


def _prompt_adjustments(num_requests: int, corpus_tokens: int) -> list[str]:
    shared = num_requests - corpus_tokens
    if shared <= 0:
        return []
    return [
        f"{shared} of {num_requests} prompts begin where another does: "
        f"the corpus has only {corpus_tokens} tokens"
    ]


def _describe(
    spec: WorkloadSpec, seed: int, due_s: Seconds | None, pairs: Tokens
) -> dict[str, object]:
    """What `Plan.description` documents."""
    return {
        **spec.model_dump(mode="json", exclude={"adjustments", "num_requests"}),
        "seed": seed,
        "num_requests": len(pairs),
        "request_rate_per_s": request_rate_per_s(spec.arrivals),
        **_observed_arrivals(due_s),
        "input_tokens": _summary(pairs[:, 0]),
        "output_tokens": _summary(pairs[:, 1]),
    }


def _observed_arrivals(due_s: Seconds | None) -> dict[str, float | None]:
    """The rate and the CV of these very gaps; None where nothing is due after the start."""
    if due_s is None or due_s[-1] == 0:
        return {"offered_rate_per_s": None, "gap_cv": None}
    gaps_s = np.diff(due_s)
    return {
        "offered_rate_per_s": float(1 / gaps_s.mean()),
        "gap_cv": float(gaps_s.std() / gaps_s.mean()),
    }


def _summary(tokens: Tokens) -> dict[str, float]:
    """Percentiles interpolate linearly between neighbours."""
    p50, p90, p99 = np.percentile(tokens, (50, 90, 99)).tolist()
    return {
        "mean": float(tokens.mean()),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "min": int(tokens.min()),
        "max": int(tokens.max()),
    }
