"""Turning points worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from llmbench.harness.frontier.batch_steps import StepsPass, StepTime
from llmbench.harness.frontier.turning import (
    WINS,
    Line,
    crossing,
    curve,
    floor_crossing,
    predicted,
    reached_crossing,
    speed_ups,
)
from llmbench.reports.frontier_model import Crossing

BATCHES = (1, 2, 4, 8, 16)


def test_the_crossing_lies_on_a_straight_line_of_logarithms() -> None:
    # A speed-up of WINS · 2 at batch 4 and of WINS / 2 at batch 16 is WINS in their middle, 8.
    seen = crossing((1, 4, 16), (3.0, WINS * 2, WINS / 2))
    assert seen.kind == "at"
    assert seen.batch == pytest.approx(8.0)
    assert seen.wins_from == 1


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((2.0, 2.0, 2.0, 1.5, 1.1), Crossing("beyond", 16, 1)),
        ((0.9, 1.0, 1.0, 0.9, 0.5), Crossing("never")),
        ((1.01, 1.01, 1.01, 1.01, 1.01), Crossing("never")),
        ((0.5, 2.0, 2.0, 2.0, 2.0), Crossing("beyond", 16, 2)),
        ((2.0, 0.9, 0.9, 2.0, 2.0), Crossing("beyond", 16, 1, (2, 4))),
    ],
)
def test_what_is_not_between_two_sizes(ratios: tuple[float, ...], expected: Crossing) -> None:
    assert crossing(BATCHES, ratios) == expected


def test_a_dip_is_not_where_it_turns() -> None:
    seen = crossing(BATCHES, (2.0, 0.9, 2.0, 1.5, 0.5))
    assert seen.kind == "at"
    assert seen.batch is not None
    assert 8 < seen.batch < 16
    assert seen.lost_at == (2,)


def test_a_formula_is_solved() -> None:
    seen = predicted(lambda batch: 40 / batch)
    assert seen.kind == "at"
    assert seen.batch == pytest.approx(40 / WINS)
    assert predicted(lambda batch: 0.5 * batch).kind == "never"
    assert predicted(lambda _: 1.5).kind == "beyond"


def machine(
    method: str, weights: float, *, each_s: float = 0.0, rate: float = 100.0, slower: float = 1.0
) -> StepsPass:
    """A method whose steps take what a roofline with bandwidth 10 and `rate` says, that moves 1
    byte and does 10 operations a sequence."""

    def step(phase: str, size: int, moved: float, flops: float) -> StepTime:
        seconds = slower * (max(moved / 10, flops / rate) + each_s)
        return StepTime(phase, size, 1.5 * seconds, seconds, seconds / 2, moved, flops, 1.0)

    decodes = [step("decode", batch, weights + batch, 10.0 * batch) for batch in BATCHES]
    return StepsPass(method, 10.0, 100.0, "a test", (*decodes, step("prefill", 512, 0.0, 5120.0)))


def beside(one: StepsPass, first: StepsPass) -> StepsPass:
    """The pass with its speed-ups over another's steps."""
    return replace(
        one,
        steps=tuple(
            replace(step, speed_up=theirs.best_s / step.best_s)
            for step, theirs in zip(one.steps, first.steps, strict=True)
        ),
    )


def test_the_shortest_step_of_all_passes_counts() -> None:
    seen = curve([machine("none", 80, slower=3.0), machine("none", 80)])
    assert seen.batches == BATCHES
    assert seen.decode_s == pytest.approx([(80 + batch) / 10 for batch in BATCHES])
    assert seen.prefill_s == pytest.approx(51.2)
    assert seen.bytes_moved == Line(80.0, 1.0)


def test_the_floor_turns_where_the_other_is_bound_by_arithmetic() -> None:
    first = machine("none", 800)
    none, four_bits = curve([first]), curve([beside(machine("awq", 200), first)])
    assert speed_ups(four_bits, none)[0] == pytest.approx(801 / 201)
    # none: bytes (800 + b) / 10, operations b / 10 at 100 a second, never the longer. At 50 a
    # second b / 5 is, from b = 800 on; within 2 % of it a little earlier.
    assert floor_crossing(four_bits, none, 10.0).kind == "beyond"
    slower = [replace(one, flops_per_s=50.0) for one in (four_bits, none)]
    seen = floor_crossing(slower[0], slower[1], 10.0)
    assert seen.batch is not None
    # (800 + b) / 10 = 1.02 · b / 5
    assert seen.batch == pytest.approx(800 / (2 * WINS - 1), rel=1e-6)


def test_two_methods_are_compared_over_the_one_that_both_took_turns_with() -> None:
    """Between the passes of the two the machine became three times as slow, and with it the first
    method beside each: a ratio of their own times would say 6."""
    first, slow = machine("none", 80), machine("none", 80, slower=3.0)
    int8 = curve([beside(machine("int8", 40, slower=3.0), slow)])
    awq = curve([beside(machine("awq", 20), first)])
    assert speed_ups(awq, int8)[0] == pytest.approx(41 / 21)
    assert int8.decode_s[0] / awq.decode_s[0] == pytest.approx(3 * 41 / 21)


def test_slower_operations_turn_earlier_than_the_floor() -> None:
    none, four_bits = curve([machine("none", 800)]), curve([machine("awq", 200, rate=10.0)])
    seen = reached_crossing(four_bits, none)
    assert seen is not None
    assert seen.batch is not None
    # awq does 10 operations a sequence at 10 a second: b seconds against (800 + b) / 10.
    assert seen.batch == pytest.approx(800 / (10 * WINS - 1), rel=1e-6)
    unprompted = StepsPass("none", 10.0, 100.0, "a test", machine("none", 800).steps[:-1])
    assert reached_crossing(four_bits, curve([unprompted])) is None


def test_one_batch_size_is_a_flat_line() -> None:
    assert Line.through([4], [7.0]) == Line(7.0, 0.0)
    assert math.isclose(Line.through([1, 3], [5.0, 9.0]).at(10), 23.0)
