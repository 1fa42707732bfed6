"""The measurement of what the protocol costs: both sides serve what was asked, and say so."""

from __future__ import annotations

import asyncio

import pytest
from llmbench.harness.bench.serve_overhead import Load, drain, measure

from ..serve.servers import WAIT_S, served


def test_a_round_of_each_side() -> None:
    (found,) = measure("bundled", "paged", "none", [Load(2, 5)], rounds=1).values()
    assert len(found.inside) == len(found.outside) == len(found.loop_s) == 1
    assert min(*found.inside, *found.outside) > 0


def test_an_answer_that_is_no_stream_ends_the_client() -> None:
    with served() as server, pytest.raises(ConnectionError, match="more than the 512"):
        asyncio.run(asyncio.wait_for(drain(server.address, Load(1, 600)), WAIT_S))
