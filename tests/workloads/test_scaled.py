"""The same requests at another rate."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.workloads.api import LengthLimits, Plan, WorkloadError, plan_workload
from llmbench.workloads.load import parse_spec
from llmbench.workloads.overrides import with_overrides
from llmbench.workloads.scaled import arrival_rate_per_s, at_rate
from llmbench.workloads.spec import WorkloadSpec


def spec(arrivals: dict[str, object], num_requests: int = 40) -> WorkloadSpec:
    lengths = {
        "kind": "sampled",
        "input": {"kind": "lognormal", "mu": 3.0, "sigma": 0.5, "max_tokens": 60},
        "output": {"kind": "fixed", "tokens": 5},
    }
    return parse_spec(
        {"name": "t", "num_requests": num_requests, "arrivals": arrivals, "lengths": lengths}
    )


def planned(of: WorkloadSpec) -> Plan:
    return plan_workload(
        of, seed=3, corpus_token_ids=range(500), limits=LengthLimits(None, None, 100)
    )


POISSON = {"kind": "poisson", "rate_per_s": 2.0}
GAMMA = {"kind": "gamma", "rate_per_s": 2.0, "cv": 1.5}
CONSTANT = {"kind": "constant", "rate_per_s": 2.0}


@pytest.mark.parametrize("arrivals", [POISSON, GAMMA, CONSTANT])
def test_a_scaled_plan_is_what_the_workload_gives_at_that_rate(arrivals) -> None:
    scaled = at_rate(planned(spec(arrivals)), 7.0)
    asked = planned(with_overrides(spec(arrivals), request_rate=7.0))
    for one, other in zip(scaled.requests, asked.requests, strict=True):
        assert one.prompt_token_ids == other.prompt_token_ids
        assert one.output_tokens == other.output_tokens
        assert one.t_due_s == pytest.approx(other.t_due_s, rel=1e-12)
    assert scaled.description["request_rate_per_s"] == pytest.approx(7.0)
    assert scaled.description["offered_rate_per_s"] == pytest.approx(
        asked.description["offered_rate_per_s"]
    )
    assert scaled.adjustments[-1] == "every gap multiplied by 0.2857, for 7 requests/s"


@given(rate=st.floats(1e-3, 1e6))
def test_only_gaps_change_and_all_by_one_factor(rate: float) -> None:
    plan = planned(spec(POISSON, 10))
    scaled = at_rate(plan, rate)
    for before, after in zip(plan.requests, scaled.requests, strict=True):
        assert after.t_due_s == pytest.approx((before.t_due_s or 0.0) * 2.0 / rate)
        assert (after.index, after.prompt_token_ids, after.output_tokens, after.samples) == (
            before.index,
            before.prompt_token_ids,
            before.output_tokens,
            before.samples,
        )


def test_the_rate_of_several_clients_is_that_of_all_of_them() -> None:
    plan = planned(
        spec({"kind": "clients", "clients": [{"rate_per_s": rate} for rate in (1, 2, 4)]})
    )
    assert arrival_rate_per_s(plan) == 7
    for before, after in zip(plan.requests, at_rate(plan, 14.0).requests, strict=True):
        assert after.t_due_s == pytest.approx((before.t_due_s or 0.0) / 2)


def test_an_infinite_rate_sends_all_at_once() -> None:
    scaled = at_rate(planned(spec(POISSON)), math.inf)
    assert {request.t_due_s for request in scaled.requests} == {0.0}
    assert scaled.description["request_rate_per_s"] is None
    assert scaled.description["offered_rate_per_s"] is None


def test_the_rate_asked_for_counts_and_not_what_the_draw_came_to() -> None:
    plan = planned(spec(POISSON))
    assert arrival_rate_per_s(plan) == 2.0
    assert plan.description["offered_rate_per_s"] != 2.0


@pytest.mark.parametrize(
    "arrivals", [{"kind": "closed_loop", "max_concurrency": 4}, {"kind": "at_once"}]
)
def test_a_workload_without_a_rate_cannot_be_scaled(arrivals) -> None:
    with pytest.raises(WorkloadError, match="arrivals that have a rate"):
        at_rate(planned(spec(arrivals)), 1.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_is_above_zero(rate: float) -> None:
    with pytest.raises(WorkloadError, match="request_rate"):
        at_rate(planned(spec(POISSON)), rate)
