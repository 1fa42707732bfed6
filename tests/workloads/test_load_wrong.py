"""What is wrong in a workload's file is named: the field, what stands there, what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.load import parse_spec

from .specs import COUNT, RATE, changed


def stage(**fields: Any) -> dict[str, Any]:
    return {"kind": "stages", "stages": [fields]}


def histogram(edges: list[float], counts: list[float]) -> dict[str, Any]:
    return {"kind": "histogram", "edges": edges, "counts": counts}


FIXED = {
    "kind": "sampled",
    "input": {"kind": "fixed", "tokens": 9},
    "output": {"kind": "fixed", "tokens": 9},
}
POISSON = {"kind": "poisson", "rate_per_s": 1}
FIELDS = (
    "adjustments, arrivals, description, fit, lengths, name, num_requests, prompts, samples, "
    "sessions, source"
)
ARRIVAL_KINDS = (
    "closed_loop, at_once, poisson, constant, gamma, on_off, modulated, replay, linear_ramp, "
    "exponential_ramp, clients, stages"
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            changed("num_requests", to=0),
            f"num_requests: 0 is not allowed; expected {COUNT}",
        ),
        (
            changed("num_requests", to="many"),
            f"num_requests: 'many' is not allowed; expected {COUNT}",
        ),
        (
            changed("arrivals", "rate_per_s", to=-2.0),
            f"arrivals.rate_per_s: -2.0 is not allowed; expected {RATE}",
        ),
        (
            changed("arrivals", "rate_per_s", to=float("nan")),
            f"arrivals.rate_per_s: nan is not allowed; expected {RATE}",
        ),
        (
            changed("arrivals", "rate", to=2.0),
            "arrivals: 'rate' is not a field here; "
            "expected one of kind, max_concurrency, rate_per_s (did you mean 'rate_per_s'?)",
        ),
        (
            changed("num_request", to=2),
            f"workload: 'num_request' is not a field here; expected one of {FIELDS} "
            "(did you mean 'num_requests'?)",
        ),
        (
            changed("arrivals", "kind", to="poison"),
            f"arrivals.kind: 'poison' is not allowed; expected one of {ARRIVAL_KINDS} "
            "(did you mean 'poisson'?)",
        ),
        (
            changed("arrivals", to={"rate_per_s": 1}),
            f"arrivals.kind: is missing; expected one of {ARRIVAL_KINDS}",
        ),
        (
            changed("arrivals", to="poisson"),
            "arrivals: 'poisson' is not allowed; expected a mapping with a kind, as {kind: ...}",
        ),
        (
            changed("arrivals", to={"kind": "closed_loop"}),
            f"arrivals.max_concurrency: is missing; expected {COUNT}",
        ),
        (
            changed("lengths", "input", "sigma", to=0),
            "lengths.input.sigma: 0 is not allowed; expected a number from 1e-09 to 20",
        ),
        (
            changed("lengths", "input", "median", to=5),
            "lengths.input: 'median' is not a field here; "
            "expected one of kind, max_tokens, min_tokens, mu, sigma",
        ),
        (
            changed("lengths", "output", to={"kind": "uniform", "min_tokens": 9, "max_tokens": 5}),
            "lengths.output: has max_tokens 5; expected max_tokens of at least min_tokens (9)",
        ),
        (
            changed("lengths", "correlation", to=1.5),
            "lengths.correlation: 1.5 is not allowed; expected a number from -1 to 1",
        ),
        (
            changed(
                "lengths", "output", to={"kind": "quantiles", "points": [[0, 1], [0.5, 9], [1, 4]]}
            ),
            "lengths.output: has tokens 4 after 9; expected tokens that never decrease",
        ),
        (
            changed("lengths", "output", to={"kind": "quantiles", "points": [[0, 1], [0.5, 9]]}),
            "lengths.output: has probabilities from 0 to 0.5; "
            "expected probabilities that begin with 0 and end with 1",
        ),
        (
            changed("lengths", "input", to={"kind": "normal", "mean": 5, "std": 0}),
            "lengths.input.std: 0 is not allowed; expected a number from 1e-09 to 16,777,216",
        ),
        (
            changed(
                "lengths", "input", to={"kind": "histogram", "edges": [1, 9], "counts": [1, 2]}
            ),
            "lengths.input: has 2 edges; expected 3 edges for 2 counts",
        ),
        (
            changed("lengths", "input", to=histogram([1.2, 1.8], [1])),
            "lengths.input: counts 1 in the bin from 1.2 to 1.8; "
            "expected a whole number in every bin that is counted",
        ),
        (
            changed(
                "arrivals", to={"kind": "stages", "stages": [{"arrivals": {"kind": "poison"}}]}
            ),
            "arrivals.stages.0.arrivals.kind: 'poison' is not allowed; expected one of at_once, "
            "poisson, constant, gamma, on_off, modulated, linear_ramp, exponential_ramp "
            "(did you mean 'poisson'?)",
        ),
        (
            changed("arrivals", to={"kind": "gamma", "rate_per_s": 20, "burstiness": 2}),
            "arrivals: has burstiness 2; expected cv, which is 1 / sqrt(burstiness): vLLM's "
            "burstiness is the gamma's shape",
        ),
        (
            changed("arrivals", to=stage(arrivals={**POISSON, "rate": 1})),
            "arrivals.stages.0.arrivals: 'rate' is not a field here; "
            "expected one of kind, max_concurrency, rate_per_s (did you mean 'rate_per_s'?)",
        ),
        (
            changed("arrivals", to=stage(arrivals=POISSON, seconds=9)),
            "arrivals.stages.0: 'seconds' is not a field here; "
            "expected one of arrivals, duration_s, requests",
        ),
        (
            changed(
                "arrivals",
                to={
                    "kind": "stages",
                    "stages": [{"arrivals": {"kind": "poisson", "rate_per_s": 1}}],
                },
            ),
            "arrivals.stages.0: has neither duration_s nor requests; "
            "expected either duration_s or requests",
        ),
        (
            changed("arrivals", to=stage(duration_s=9)),
            "arrivals.stages.0.arrivals: is missing; expected a mapping whose kind is one of "
            "at_once, poisson, constant, gamma, on_off, modulated, linear_ramp, exponential_ramp",
        ),
        (
            changed(
                "arrivals",
                to={
                    "kind": "linear_ramp",
                    "start_rate_per_s": 0,
                    "end_rate_per_s": 0,
                    "duration_s": 5,
                },
            ),
            "arrivals: has rates of 0 at both ends; "
            "expected a rate above 0 at the start or at the end",
        ),
        (
            changed("num_requests", to=None),
            "workload: has no num_requests; "
            "expected it, as neither a trace nor the arrivals give the number",
        ),
        (
            changed("prompts", to={"kind": "corpus", "text": "x"}),
            "prompts: 'text' is not a field here; expected one of kind, "
            "shared_prefix_count, shared_prefix_ratio, shared_prefix_tokens",
        ),
        (
            changed("fit", to="cut"),
            "fit: 'cut' is not allowed; expected 'error' or 'clip'",
        ),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_spec(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("arrivals.path", {"kind": "replay"}),
        ("lengths.path", {"kind": "pairs"}),
        ("lengths.path", {"kind": "trace"}),
        ("prompts.path", {"kind": "text"}),
        ("prompts.path", {"kind": "jsonl"}),
        ("prompts.dataset", {"kind": "dataset"}),
    ],
)
def test_a_path_that_no_file_can_have_is_refused_by_its_field(
    field: str, part: dict[str, Any], name: str
) -> None:
    """Known wrong here: a traceback as the file was opened."""
    outer, inner = field.split(".")
    with pytest.raises(WorkloadError) as caught:
        parse_spec(changed(outer, to={**part, inner: name}))
    assert f"{field}: {name!r} is not allowed; expected a name of a file" in str(caught.value)


def test_all_that_is_wrong_is_named_in_one_line() -> None:
    data = changed("arrivals", "rate_per_s", to=-1)
    with pytest.raises(WorkloadError) as caught:
        parse_spec({**data, "fit": "cut", "nmae": "x"})
    assert caught.value.field == "arrivals.rate_per_s"
    first, second, third = str(caught.value).split("; also ")
    assert first.startswith("arrivals.rate_per_s: -1 is not allowed; expected ")
    assert second == "fit: 'cut' is not allowed; expected 'error' or 'clip'"
    assert third.startswith("workload: 'nmae' is not a field here; expected one of ")
    with pytest.raises(WorkloadError) as many:
        parse_spec({**data, **{f"unknown_{at}": at for at in range(9)}})
    assert str(many.value).endswith("; also 5 more")
    assert "\n" not in str(many.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"lengths": FIXED},
            f"arrivals: is missing; expected a mapping whose kind is one of {ARRIVAL_KINDS}",
        ),
        (
            {"arrivals": POISSON},
            "lengths: is missing; "
            "expected a mapping whose kind is one of sampled, trace, pairs, text",
        ),
        (
            {"arrivals": {"kind": "stages"}, "lengths": FIXED},
            "arrivals.stages: is missing; expected a list",
        ),
        (
            {"arrivals": {"kind": "stages", "stages": []}, "lengths": FIXED},
            "arrivals.stages: [] is not allowed; expected at least 1 in the list",
        ),
        (
            {"arrivals": POISSON, "lengths": {"kind": "pairs", "pairs": [[1, 2, 3]]}},
            "lengths.pairs.0: [1, 2, 3] is not allowed; expected at most 2 in the list",
        ),
        (
            {"arrivals": POISSON, "lengths": {"kind": "pairs", "path": 5}, "name": 3},
            "name: 3 is not allowed; expected a text; "
            "also lengths.path: 5 is not allowed; expected a path",
        ),
        (
            {"arrivals": POISSON, "lengths": FIXED, 3: "x"},
            "workload: 3 is no name of a field; expected a text",
        ),
        (
            {"arrivals": {"kind": "stages", "stages": 3}, "lengths": FIXED},
            "arrivals.stages: 3 is not allowed; expected a list",
        ),
        (
            {"arrivals": stage(arrivals=POISSON, duration_s=3, requests=4), "lengths": FIXED},
            "arrivals.stages.0: has duration_s 3 and requests 4; "
            "expected either duration_s or requests",
        ),
        (
            {"arrivals": POISSON, "lengths": {"kind": "pairs", "pairs": [[1, 2]], "path": "x.csv"}},
            "lengths: has both pairs and a path; expected either pairs or the path of a CSV",
        ),
        (
            {"arrivals": POISSON, "lengths": {"kind": "pairs"}},
            "lengths: has neither pairs nor a path; expected either pairs or the path of a CSV",
        ),
    ],
)
def test_what_is_missing_or_does_not_agree_says_what_there_is(
    data: dict[Any, Any], message: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_spec({"num_requests": 3, **data})
    assert str(caught.value) == message
