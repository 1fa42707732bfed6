"""Which of two engines holds more, on the same requests, and what is chance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.cli.capacity_tables import (
    order_sentence,
)
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.capacity_goal import CapacityGoal
from llmbench.harness.simulation.capacity_order import Order, orders
from llmbench.harness.simulation.simulated_capacity import (
    engine_capacity,
)
from llmbench.harness.stats.mcnemar import mcnemar

from .test_simulated_capacity import STEP_S, Constant, one_by_one


def test_engines_that_serve_alike_cannot_be_told_apart() -> None:
    """The second takes as long and is asked for the same; a tenth slower, it makes most wait."""
    goal = CapacityGoal({"ttft": STEP_S * 1.5}, attainment=0.9, rate_tolerance=0.01)
    one, alike, slower = one_by_one(60), one_by_one(60), one_by_one(60)
    slower = replace(slower, cost=Constant(1.1))
    found = [engine_capacity(each, goal, Silent()) for each in (one, alike, slower)]
    assert all(each.judged == 60 for each in found)
    same, order = orders((one, alike, slower), found, goal, Silent())
    assert order_sentence(same).endswith("the same requests keep the SLO with both")
    assert order.rate_per_s == found[0].capacity_per_s
    assert order.only_second == 0
    assert order.only_first > 20
    assert not order.is_noise
    assert order_sentence(order).startswith("paged holds more than paged: at ")


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (
            (2, 0),
            "a and b cannot be told apart: at 26.3 requests/s, 2 requests keep the SLO with a ",
        ),
        ((0, 0), "a and b: at 26.3 requests/s the same requests keep the SLO with both"),
        ((30, 4), "a holds more than b: at 26.3 requests/s, 30 requests"),
    ],
)
def test_an_order_by_chance_is_called_so(split: tuple[int, int], said: str) -> None:
    order = Order("a", "b", 26.3, *split, mcnemar(*split))
    assert order_sentence(order).startswith(said)
