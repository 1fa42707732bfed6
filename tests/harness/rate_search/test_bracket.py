"""The search: on curves whose capacity is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.engines.errors import ConfigError
from llmbench.harness.rate_search.bracket import LOWEST_RATE_PER_S, Search, Tried, find_capacity

STEP_S = 0.1


def threshold(capacity_per_s: float):
    return lambda rate: 1.0 if rate <= capacity_per_s else 0.0


@given(
    capacity=st.floats(2 * LOWEST_RATE_PER_S, 1e5),
    start=st.floats(1e-2, 1e3),
    tolerance=st.floats(0.001, 0.5),
)
def test_the_capacity_lies_in_the_bracket_and_the_bracket_is_as_narrow_as_asked(
    capacity: float, start: float, tolerance: float
) -> None:
    found = find_capacity(threshold(capacity), tolerance=tolerance, start_per_s=start)
    assert found.outcome == "found"
    assert found.holds is not None
    assert found.fails is not None
    assert found.holds.rate_per_s <= capacity < found.fails.rate_per_s
    assert found.fails.rate_per_s <= found.holds.rate_per_s * (1 + tolerance) * (1 + 1e-12)
    assert found.exceptions == ()


@given(
    falls=st.lists(st.floats(0.05, 50.0), min_size=1, max_size=6),
    target=st.floats(0.05, 1.0),
    start=st.floats(0.1, 20.0),
)
def test_of_a_falling_curve_the_bracket_holds_the_target(
    falls: list[float], target: float, start: float
) -> None:
    """Attainment falls by an equal step at each of some rates."""

    def attained(rate: float) -> float:
        return 1 - sum(rate > fall for fall in falls) / len(falls)

    found = find_capacity(attained, target=target, start_per_s=start)
    assert found.outcome == "found"
    assert found.holds is not None
    assert found.fails is not None
    assert found.holds.attained == attained(found.holds.rate_per_s) >= target
    assert found.fails.attained == attained(found.fails.rate_per_s) < target
    assert found.exceptions == ()
    rates = [trial.rate_per_s for trial in found.trials]
    assert rates == sorted(set(rates))


def test_a_queue_whose_waits_are_known() -> None:
    """M/D/1 with a service time of 0.1 s: P(no wait) = 1 - rho. So nine in ten requests do not
    wait up to rho = 0.1, a request a second; half of them up to 5 requests a second."""

    def attained(rate: float) -> float:
        return max(0.0, 1 - rate * STEP_S)

    for target, capacity in ((0.9, 1.0), (0.5, 5.0)):
        found = find_capacity(attained, target=target, tolerance=0.01, start_per_s=3.0)
        assert found.holds is not None
        assert found.holds.rate_per_s == pytest.approx(capacity, rel=0.01)
        assert found.holds.rate_per_s <= capacity * (1 + 1e-9)


def test_waits_within_a_service_time() -> None:
    """M/D/1, Erlang 1909: P(W <= t) = (1 - rho) exp(rate t) for t below the service time. With
    t = 0.05 s and 0.1 s of service, the rate of 0.9 solves (1 - r / 10) exp(r / 20) = 0.9."""

    def attained(rate: float) -> float:
        return max(0.0, (1 - rate * STEP_S) * math.exp(rate * STEP_S / 2))

    found = find_capacity(attained, target=0.9, tolerance=0.001)
    assert found.holds is not None
    # (1 - 0.1798) exp(0.0899) = 0.8202 x 1.0941 = 0.8974; at 0.17: 0.83 x 1.0887 = 0.9037.
    assert 1.70 < found.holds.rate_per_s < 1.80


def test_an_objective_that_no_rate_meets() -> None:
    found = find_capacity(lambda rate: 0.4 - min(rate, 0.1), start_per_s=8.0)
    assert found.outcome == "never"
    assert found.holds is None
    assert found.fails is not None
    assert found.fails.rate_per_s == LOWEST_RATE_PER_S
    assert found.fails.attained == pytest.approx(0.4 - LOWEST_RATE_PER_S)
    assert len(found.trials) < 10


def test_an_objective_that_any_rate_meets() -> None:
    found = find_capacity(lambda _: 1.0, start_per_s=8.0)
    assert found.outcome == "always"
    assert found.fails is None
    assert found.holds is not None
    assert math.isinf(found.holds.rate_per_s)
    assert len(found.trials) < 10


def test_all_at_once_is_told_from_a_rate_that_is_merely_high() -> None:
    found = find_capacity(lambda rate: 0.0 if math.isinf(rate) else 1.0)
    assert found.outcome == "found"
    assert found.holds is not None
    assert found.fails is not None
    assert found.holds.rate_per_s == 1e6
    assert math.isinf(found.fails.rate_per_s)


@pytest.mark.parametrize(
    ("island", "holds"),
    [((7.0, 9.0), False), ((10.5, 13.0), True)],
)
def test_what_contradicts_a_single_capacity_is_reported(island, holds: bool) -> None:
    """10 requests a second hold, but for an island below that does not, or above that does."""

    def attained(rate: float) -> float:
        if island[0] <= rate <= island[1]:
            return float(holds)
        return float(rate <= 10.0)

    found = find_capacity(attained, tolerance=0.01, start_per_s=10.0)
    assert found.holds is not None
    assert found.fails is not None
    # The bracket itself is verified.
    assert attained(found.holds.rate_per_s) == 1.0
    assert attained(found.fails.rate_per_s) == 0.0
    assert found.exceptions
    for trial in found.exceptions:
        below, above = found.holds.rate_per_s, found.fails.rate_per_s
        assert trial.rate_per_s < below if trial.attained == 0 else trial.rate_per_s > above


def test_an_interval_ends_where_the_requests_leave_no_doubt() -> None:
    """Of 400 requests all that keep it are 99.04 % or more, 396 are 97.5 to 99.6 %, and 388 are
    94.8 to 98.3 %: Wilson's intervals at 95 %."""
    shares = {1.0: 1.0, 2.0: 1.0, 4.0: 396 / 400, 5.0: 395 / 400, 6.0: 388 / 400, 8.0: 0.5}
    trials = tuple(Tried(*one) for one in shares.items())
    found = Search("found", 0.99, trials[2], trials[3], trials)
    assert found.interval_per_s(400) == (2.0, 6.0)
    # 100 requests that all keep it may as well be 96.3 % of many, and 97 of them 98.97 %.
    assert found.interval_per_s(100) == (0.0, 6.0)
    assert found.interval_per_s(10) == (0.0, 8.0)
    assert Search("never", 0.99, None, trials[-1], trials[-1:]).interval_per_s(100) == (0.0, 8.0)
    always = Search("always", 0.99, Tried(math.inf, 1.0), None, (Tried(math.inf, 1.0),))
    assert always.interval_per_s(400) == (math.inf, math.inf)
    assert always.interval_per_s(100) == (0.0, math.inf)


def test_no_rate_is_tried_twice() -> None:
    tried: list[float] = []

    def attained(rate: float) -> float:
        tried.append(rate)
        return float(rate <= 10.0)

    find_capacity(attained)
    assert len(tried) == len(set(tried))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"target": 0.0}, "attainment"),
        ({"target": 1.1}, "attainment"),
        ({"tolerance": 0.0}, "rate_tolerance"),
        ({"tolerance": 1.0}, "rate_tolerance"),
    ],
)
def test_what_is_no_share_is_refused_before_anything_is_tried(wrong, field: str) -> None:
    def attained(_: float) -> float:
        raise AssertionError("tried")

    with pytest.raises(ConfigError, match=field):
        find_capacity(attained, **wrong)
