"""What the command line may change, as a table."""

from __future__ import annotations

import math
from typing import Any

import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.arrivals import request_rate_per_s
from llmbench.workloads.load import parse_spec
from llmbench.workloads.overrides import is_scaled_when_planned, with_overrides
from llmbench.workloads.spec import WorkloadSpec

from .specs import COUNT

CLOSED = {"kind": "closed_loop", "max_concurrency": 4}
POISSON = {"kind": "poisson", "rate_per_s": 2.0}
CAPPED = {"kind": "poisson", "rate_per_s": 2.0, "max_concurrency": 16}
CONSTANT = {"kind": "constant", "rate_per_s": 2.0}
GAMMA = {"kind": "gamma", "rate_per_s": 2.0, "cv": 3.0}
REPLAY = {"kind": "replay", "path": "t.csv"}


def spec_with(arrivals: dict[str, Any]) -> WorkloadSpec:
    tokens = {"kind": "fixed", "tokens": 8}
    lengths = {"kind": "sampled", "input": tokens, "output": tokens}
    return parse_spec({"num_requests": 10, "arrivals": arrivals, "lengths": lengths})


@pytest.mark.parametrize(
    ("own", "given", "becomes"),
    [
        (CLOSED, {}, CLOSED),
        (CLOSED, {"request_rate": 5.0}, {"kind": "poisson", "rate_per_s": 5.0}),
        (CONSTANT, {"request_rate": 5.0}, {"kind": "constant", "rate_per_s": 5.0}),
        (GAMMA, {"request_rate": 5.0}, {"kind": "gamma", "rate_per_s": 5.0, "cv": 3.0}),
        (REPLAY, {"request_rate": 5.0}, {"kind": "poisson", "rate_per_s": 5.0}),
        (POISSON, {"request_rate": math.inf}, {"kind": "at_once"}),
        (CLOSED, {"max_concurrency": 9}, {"kind": "closed_loop", "max_concurrency": 9}),
        (POISSON, {"max_concurrency": 9}, {"kind": "closed_loop", "max_concurrency": 9}),
        (
            CLOSED,
            {"request_rate": 5.0, "max_concurrency": 9},
            {"kind": "poisson", "rate_per_s": 5.0, "max_concurrency": 9},
        ),
        (
            POISSON,
            {"request_rate": math.inf, "max_concurrency": 9},
            {"kind": "at_once", "max_concurrency": 9},
        ),
        (
            CAPPED,
            {"request_rate": 5.0},
            {"kind": "poisson", "rate_per_s": 5.0, "max_concurrency": 16},
        ),
        (POISSON, {"arrival": "constant"}, CONSTANT),
        (
            CLOSED,
            {"arrival": "constant", "request_rate": 5.0},
            {"kind": "constant", "rate_per_s": 5.0},
        ),
        (REPLAY, {"time_scale": 0.5}, {**REPLAY, "time_scale": 0.5}),
        (
            REPLAY,
            {"time_scale": 0.5, "max_concurrency": 9},
            {**REPLAY, "time_scale": 0.5, "max_concurrency": 9},
        ),
    ],
)
def test_arrivals(own: dict[str, Any], given: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert with_overrides(spec_with(own), **given).arrivals == spec_with(becomes).arrivals


def test_clients_are_scaled_alike() -> None:
    own = {
        "kind": "clients",
        "clients": [{"rate_per_s": 3, "cv": 2, "family": "weibull"}, {"rate_per_s": 1}],
    }
    found = with_overrides(spec_with(own), request_rate=2.0).arrivals.model_dump()
    assert [(one["rate_per_s"], one["cv"], one["family"]) for one in found["clients"]] == [
        (1.5, 2.0, "weibull"),
        (0.5, 1.0, "gamma"),
    ]
    assert with_overrides(spec_with(own), request_rate=math.inf).arrivals.kind == "at_once"


@pytest.mark.parametrize("kind", ["linear_ramp", "exponential_ramp"])
def test_a_rate_takes_the_place_of_a_ramp(kind: str) -> None:
    ramp = {"kind": kind, "start_rate_per_s": 1, "end_rate_per_s": 2, "duration_s": 5}
    changed = with_overrides(spec_with(ramp), request_rate=2.0)
    assert changed.arrivals == spec_with(POISSON).arrivals
    assert changed.adjustments == (f"arrivals are poisson, not the workload's own {kind}",)


BURSTS = {"kind": "on_off", "on_rate_per_s": 9, "mean_on_s": 1, "mean_off_s": 2}
RAMP = {"kind": "linear_ramp", "start_rate_per_s": 1, "end_rate_per_s": 2, "duration_s": 5}
MODULATED = {"kind": "modulated", "rate_per_s": 4, "period_s": 2, "rate_cv": 1}
STAGES = {"kind": "stages", "stages": [{"arrivals": POISSON, "duration_s": 5}]}


@pytest.mark.parametrize(
    "own", [BURSTS, MODULATED, RAMP, STAGES, REPLAY], ids=lambda own: own["kind"]
)
def test_arrivals_that_are_scaled_once_they_are_drawn_stay_what_they_are(
    own: dict[str, Any],
) -> None:
    changed = with_overrides(spec_with(own), request_rate=5.0, arrival="own", max_concurrency=7)
    assert changed.arrivals == spec_with({**own, "max_concurrency": 7}).arrivals
    assert changed.adjustments == ()
    assert is_scaled_when_planned(changed.arrivals)


@pytest.mark.parametrize("own", [CLOSED, POISSON, GAMMA, CONSTANT], ids=lambda own: own["kind"])
@pytest.mark.parametrize("rate", [5.0, math.inf])
def test_others_are_at_their_own_rate_what_they_are_at_any(
    own: dict[str, Any], rate: float
) -> None:
    changed = with_overrides(spec_with(own), request_rate=rate, arrival="own")
    assert changed == with_overrides(spec_with(own), request_rate=rate)
    assert not is_scaled_when_planned(changed.arrivals)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "arrival: 'own' is no rate; expected --request-rate beside it"),
        ({"request_rate": 0.0}, "request_rate: 0.0 is not allowed; expected a number above 0"),
        ({"time_scale": 0.5, "request_rate": 2.0}, "time_scale: 0.5 is not allowed"),
    ],
)
def test_own_arrivals_need_a_rate(given: dict[str, float], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        with_overrides(spec_with(REPLAY), arrival="own", **given)  # pyright: ignore[reportArgumentType]
    assert str(caught.value).startswith(message)


def test_num_requests_and_nothing_else() -> None:
    spec = spec_with(POISSON)
    assert with_overrides(spec, num_requests=3) == spec.model_copy(update={"num_requests": 3})
    assert with_overrides(spec) == spec


def test_another_kind_takes_the_workloads_own_mean_rate() -> None:
    """Known wrong here: "on_off arrivals have none", of a workload whose rate is shown."""
    bursts = {"kind": "on_off", "on_rate_per_s": 8.0, "mean_on_s": 1.0, "mean_off_s": 3.0}
    changed = with_overrides(spec_with(bursts), arrival="constant").arrivals
    assert (changed.kind, request_rate_per_s(changed)) == ("constant", 2.0)


def test_another_arrival_process_is_put_in_words() -> None:
    changed = with_overrides(spec_with(GAMMA), max_concurrency=2)
    assert changed.adjustments == ("arrivals are closed_loop, not the workload's own gamma",)
    assert with_overrides(spec_with(POISSON), request_rate=9.0).adjustments == ()


@pytest.mark.parametrize(
    ("own", "given", "message"),
    [
        (
            POISSON,
            {"request_rate": -1.0},
            "request_rate: -1.0 is not allowed; expected a number above 0, or inf",
        ),
        (
            POISSON,
            {"request_rate": math.nan},
            "request_rate: nan is not allowed; expected a number above 0, or inf",
        ),
        (
            CLOSED,
            {"arrival": "constant"},
            "arrival: 'constant' needs a rate, and closed_loop arrivals have no single one; "
            "expected --request-rate beside it",
        ),
        (
            POISSON,
            {"time_scale": 0.5},
            "time_scale: 0.5 is not allowed; expected a replayed trace at its own rate",
        ),
        (
            REPLAY,
            {"time_scale": 0.0},
            "arrivals.time_scale: 0.0 is not allowed; "
            "expected a number from 1e-09 to 1,000,000,000",
        ),
        (POISSON, {"num_requests": 0}, f"num_requests: 0 is not allowed; expected {COUNT}"),
        (
            POISSON,
            {"max_concurrency": 0},
            f"arrivals.max_concurrency: 0 is not allowed; expected {COUNT}",
        ),
    ],
)
def test_what_cannot_be_asked_for(own: dict[str, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        with_overrides(spec_with(own), **given)
    assert str(caught.value) == message
