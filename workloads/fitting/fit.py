"""A trace as a workload file: its lengths, their correlation, its rate and its burstiness, and its
sessions where turns wait for replies; and a table that holds the two against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from ..api import RequestShape, WorkloadError
from ..lengths import Tokens, sample_pairs, trace_pairs
from ..spec import (
    Arrivals,
    AtOnce,
    Modulated,
    SampledLengths,
    Sessions,
    Stages,
    WorkloadSpec,
)
from ..traces import read_trace
from .arrivals import drawn_burstiness, factors_apart, fit_arrivals, is_near
from .burstiness import Burstiness, burstiness
from .lengths import (
    FittedLength,
    copula_correlation,
    drawn_correlation,
    evenly_drawn,
    fit_length,
    linear_correlation,
)
from .sessions import (
    FittedSessions,
    TracedSessions,
    drawn_sessions,
    fit_sessions,
    traced_sessions,
)

_PERCENTILES = (50, 90, 99)
_LEAST_REQUESTS = 20


@dataclass(frozen=True)
class Compared:
    """One quantity of the trace and of what the fit sends."""

    name: str
    trace: float
    fit: float


@dataclass(frozen=True)
class FittedWorkload:
    """A spec, how near it comes, and what was left out, in words."""

    spec: WorkloadSpec
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]


def fit_trace(path: str | Path) -> FittedWorkload:
    """Read a trace and fit it; lengths of 0 count as 1.

    Where later turns wait for replies, sessions are fitted: arrivals are of their beginnings,
    lengths are what a turn adds. Raises WorkloadError: unreadable, fewer than 20 requests or
    sessions, a rate that no workload has, or sessions of which some turns wait and others do not.
    """
    rows = read_trace(path)
    if len(rows) < _LEAST_REQUESTS:
        problem = f"has {len(rows)} requests"
        raise WorkloadError(
            "trace", path, f"at least {_LEAST_REQUESTS} to fit anything to", problem
        )
    try:
        return _fitted(Path(path), rows)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"would be fitted by {first['loc'][-1]} {first['input']}"
        raise WorkloadError("trace", path, first["msg"], problem) from None


def _fitted(path: Path, rows: Sequence[RequestShape]) -> FittedWorkload:
    traced = traced_sessions(path, rows)
    if traced is not None and len(traced.turns) < _LEAST_REQUESTS:
        problem = f"has {len(traced.turns)} sessions"
        expected = f"at least {_LEAST_REQUESTS} to fit anything to"
        raise WorkloadError("trace", path, expected, problem)
    talk = None if traced is None else fit_sessions(traced)
    pairs = np.maximum(trace_pairs(rows), 1) if traced is None else traced.added
    times_s = np.array([row.t_due_s for row in rows if row.t_due_s is not None])
    inputs, outputs = fit_length(pairs[:, 0]), fit_length(pairs[:, 1])
    found = burstiness(times_s)
    arrivals = AtOnce(kind="at_once") if found is None else fit_arrivals(times_s, found)
    spec = WorkloadSpec(
        name=f"{path.stem}-fit",
        description=f"Requests like those of {path.name}",
        source=f"fitted to {path.name}, {len(rows)} requests",
        num_requests=None if isinstance(arrivals, Stages) else len(rows),
        arrivals=arrivals,
        lengths=SampledLengths(
            kind="sampled",
            input=inputs.length,
            output=outputs.length,
            correlation=copula_correlation(pairs, inputs.length, outputs.length),
        ),
        sessions=None if talk is None else talk.sessions,
        samples=rows[0].samples,
        fit="clip",
    )
    ours = None if found is None else drawn_burstiness(arrivals, len(times_s))
    return FittedWorkload(
        spec,
        (
            *_compare_pairs(pairs, inputs, outputs, spec, traced),
            *_compare_arrivals(found, ours, "requests" if traced is None else "sessions"),
        ),
        (
            _said("input" if traced is None else "added input", inputs),
            _said("output", outputs),
            f"arrivals are {_kind(arrivals)}{_off(found, ours)}",
            *_shared(rows),
            *(_alone(rows) if talk is None or traced is None else _said_of(talk, traced)),
        ),
    )


def _off(trace: Burstiness | None, fit: Burstiness | None) -> str:
    """By how much arrivals are not like the trace's, where they are not."""
    if trace is None or fit is None or is_near(trace, factors := factors_apart(trace, fit)):
        return ""
    return f": gaps or counts are off by up to a factor {max(factors.values()):.2g}"


def _kind(arrivals: Arrivals) -> str:
    if not isinstance(arrivals, Stages):
        return arrivals.kind
    inside = arrivals.stages[0].arrivals
    rate = f", a rate every {inside.period_s:g} s" if isinstance(inside, Modulated) else ""
    return f"{len(arrivals.stages)} stages{rate}"


def _compare_pairs(
    pairs: Tokens,
    inputs: FittedLength,
    outputs: FittedLength,
    spec: WorkloadSpec,
    traced: TracedSessions | None,
) -> tuple[Compared, ...]:
    lengths = spec.lengths
    assert isinstance(lengths, SampledLengths)
    correlation = drawn_correlation(lengths.input, lengths.output, lengths.correlation)
    return (
        *_compare_lengths("input" if traced is None else "added input", pairs[:, 0], inputs),
        *_compare_lengths("output", pairs[:, 1], outputs),
        Compared("correlation of input and output", linear_correlation(pairs), correlation),
        *(() if traced is None else _compare_sessions(traced, spec.sessions, lengths)),
    )


def _compare_sessions(
    traced: TracedSessions, sessions: Sessions | None, lengths: SampledLengths
) -> tuple[Compared, ...]:
    assert sessions is not None
    drawn = sample_pairs(
        len(traced.added),
        lengths.input,
        lengths.output,
        lengths.correlation,
        np.random.default_rng(0),
    )
    sent = drawn_sessions(sessions, drawn)
    of_both = (
        ("turns a session", traced.turns, sent.turns),
        ("seconds of thought", traced.think_s, sent.think_s),
        ("prompt tokens with history", traced.prompts, sent.prompts),
    )
    return tuple(
        compared
        for name, trace, fit in of_both
        for compared in (
            Compared(f"{name}, mean", float(trace.mean()), float(fit.mean())),
            Compared(
                f"{name}, p90", float(np.percentile(trace, 90)), float(np.percentile(fit, 90))
            ),
        )
    )


def _compare_lengths(side: str, trace: Tokens, fitted: FittedLength) -> tuple[Compared, ...]:
    """By the distribution itself: one draw as long as a short trace says little of it."""
    fit = evenly_drawn(fitted.length)
    return (
        Compared(f"{side} tokens, mean", float(trace.mean()), float(fit.mean())),
        *(
            Compared(
                f"{side} tokens, p{p}", float(np.percentile(trace, p)), float(np.percentile(fit, p))
            )
            for p in _PERCENTILES
        ),
        Compared(f"{side} tokens, Kolmogorov distance", 0.0, fitted.distance),
    )


def _compare_arrivals(
    trace: Burstiness | None, fit: Burstiness | None, arriving: str
) -> tuple[Compared, ...]:
    if trace is None or fit is None:
        return ()
    return (
        Compared(f"{arriving} a second", trace.rate_per_s, fit.rate_per_s),
        Compared("CV of gaps", trace.gap_cv, fit.gap_cv),
        *(
            Compared(f"dispersion at {window_s:g} s", value, fit.dispersion[window_s])
            for window_s, value in trace.dispersion.items()
            if window_s in fit.dispersion
        ),
    )


def _said(side: str, fitted: FittedLength) -> str:
    text = f"{side} lengths are {fitted.length.kind}: distance {fitted.distance:.3f} from the trace"
    if fitted.length.kind != "quantiles":
        return text
    return f"{text} (a lognormal's is {fitted.lognormal_distance:.3f})"


def _said_of(talk: FittedSessions, traced: TracedSessions) -> list[str]:
    """How near sessions come, and what of them does not."""
    turns, think = talk.sessions.turns, talk.sessions.think_s
    assert turns is not None
    notes = [
        f"turns are {turns.kind}: distance {talk.turns_distance:.3f} from the trace",
        f"think times are {think.kind}: distance {talk.think_distance:.3f} from the trace",
    ]
    if traced.shorter:
        notes.append(
            f"{traced.shorter} later turns have a prompt no longer than what was said before: "
            "1 added token is taken for each"
        )
    return notes


def _shared(rows: Sequence[RequestShape]) -> list[str]:
    """Whether a trace has prefixes, which its fit has not."""
    if not any(row.prefix_block_ids for row in rows):
        return []
    return ["prompts of the fit share no prefixes, those of the trace do: replay it"]


def _alone(rows: Sequence[RequestShape]) -> list[str]:
    """Whether a trace has sessions, where its fit has none."""
    if all(row.session is None for row in rows):
        return []
    return ["requests of the fit stand alone, the trace has sessions: replay it"]
