"""What is said of capacities, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.cli.capacity_tables import interval_text, notes, order_sentence
from llmbench.harness.config import RunConfig
from llmbench.harness.rate_search.bracket import Search, Tried
from llmbench.harness.simulation.capacity_order import Order
from llmbench.harness.simulation.simulated_capacity import EngineCapacity
from llmbench.workloads.scaled import Arriving

HOLDS, FAILS = Tried(2.0, 1.0), Tried(2.02, 0.8)
FOUND = Search("found", 0.9, HOLDS, FAILS, (HOLDS, FAILS))


def found(search: Search, kept: tuple[bool, ...], effective: float) -> EngineCapacity:
    config = RunConfig("llama-3-8b", engine_config("paged"))
    return EngineCapacity(config, search, (), "", None, "", kept, effective, num_requests=len(kept))


ALWAYS = Search("always", 0.9, Tried(math.inf, 1.0), None, (Tried(math.inf, 1.0),))


@pytest.mark.parametrize(
    ("search", "effective", "said"),
    [(FOUND, 1.0, "not known"), (FOUND, 1000.0, "2 to 2.02"), (ALWAYS, 1000.0, "any rate")],
)
def test_an_interval_without_ends_is_none(search: Search, effective: float, said: str) -> None:
    """Known wrong here: "any rate" for the capacity of six requests, and "n/a or more"."""
    assert interval_text(found(search, (True,), effective)) == said


@pytest.mark.parametrize(
    ("arriving", "said"),
    [
        ("requests", "a and b: with all requests sent at once the same requests keep the SLO"),
        ("sessions", "a and b: with all sessions begun at once, each turn after the reply before"),
    ],
)
def test_an_order_where_all_are_sent_at_once_is_at_no_rate(arriving: Arriving, said: str) -> None:
    """Known wrong here: "at n/a"."""
    assert order_sentence(Order("a", "b", math.inf, 0, 0, 1.0, arriving)).startswith(said)


@pytest.mark.parametrize(
    ("num_requests", "said"),
    [
        (60, "60 requests count as 7 that do not wait for each other, "),
        (15, "60 replies count as 7 that do not wait for each other, "),
    ],
)
def test_how_many_requests_would_do_is_of_requests_and_not_of_their_samples(
    num_requests: int, said: str
) -> None:
    """60 replies count as 7, and 35 are wanted: a tenth more than five times as many requests."""
    one = replace(found(FOUND, (True,) * 60, 7.0), num_requests=num_requests)
    (note,) = notes(one)
    assert note.startswith(said)
    wanted: Mapping[int, str] = {60: "some 400 requests", 15: "some 100 requests"}
    assert f"it takes 35, which {wanted[num_requests]} give" in note
