"""From passes of steps to turning points, on a machine that is a formula."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from llmbench.harness.frontier.batch_steps import BatchSteps
from llmbench.harness.frontier.turning import WINS
from llmbench.harness.frontier.turning_points import AtBatch1, batch_1, frontier_steps

from .test_turning import BATCHES, beside, machine

BITS = {"none": 16.0, "int8": 8.0, "awq": 4.0, "nvfp4": 4.0}


def steps(*methods: str) -> BatchSteps:
    # 4 bits move a quarter of the bytes and compute at a fifth of the rate.
    made = {
        "none": machine("none", 80, rate=50.0),
        "int8": machine("int8", 40, rate=50.0),
        "awq": machine("awq", 20, rate=10.0),
        "nvfp4": machine("nvfp4", 20, rate=50.0),
    }
    there = [beside(made[one], made[methods[0]]) for one in methods]
    return BatchSteps({}, (*there, *(replace(one, bytes_per_s=9.0) for one in reversed(there))))


def test_four_bits_are_held_against_more_bits_only() -> None:
    found = frontier_steps(steps("none", "int8", "awq", "nvfp4"), BITS)
    pairs = [(one.method, one.against) for one in found.turning_points]
    assert pairs == [("awq", "none"), ("awq", "int8"), ("nvfp4", "none"), ("nvfp4", "int8")]
    assert frontier_steps(steps("none", "int8"), BITS).turning_points == ()


def test_lines_are_the_sweeps_and_bandwidth_the_usual_one() -> None:
    found = frontier_steps(steps("none", "awq"), BITS)
    assert found.batches == BATCHES
    assert found.bytes_per_s == 9.5  # of 10, 10, 9 and 9
    none, awq = found.lines
    assert none.flops_per_s == 100.0
    assert none.bandwidths_bytes_per_s == (10.0, 9.0)
    assert awq.decode_s == pytest.approx([max((20 + b) / 10, b) for b in BATCHES])
    assert set(awq.spreads) == {0.0}


def test_the_turning_point_is_measured_predicted_and_explained() -> None:
    [seen] = frontier_steps(steps("none", "awq"), BITS).turning_points
    # awq takes b seconds from b = 2.2 on, none 8 + b / 10: 8.8 and 9.6 at 8 and 16 sequences.
    assert seen.speed_ups == pytest.approx((8.1 / 2.1, 8.2 / 2.2, 8.4 / 4, 8.8 / 8, 9.6 / 16))
    assert seen.measured.kind == "at"
    assert seen.measured.batch is not None
    # 1.1 at 8 and 0.6 at 16 sequences: a straight line of logarithms is at 1.02 at 8.7.
    share = math.log(1.1 / WINS) / math.log(1.1 / 0.6)
    assert seen.measured.batch == pytest.approx(8 * 2**share)
    assert seen.reached is not None
    assert seen.reached.batch == pytest.approx(80 / (10 * WINS - 1), rel=1e-6)
    # At a rate of 100, b / 10 never takes longer than (80 + b) / 9.5: keys and values bind both.
    assert seen.floor.batch == pytest.approx((80 - 20 * WINS) / (WINS - 1), rel=1e-6)
    assert "at batch 2\u202f980, where keys and values are nearly all that is read" in seen.why
    assert seen.sentence.startswith("awq wins against unquantised up to batch 8.7")
    assert seen.steady
    assert "moves 0.26 times the bytes" in seen.why
    assert "at batch 8.7, where its operations take longer than its bytes" in seen.why
    assert "on a prompt it computes them 0.20 times as fast" in seen.why


def test_speed_ups_at_batch_1_are_over_the_unquantised_model() -> None:
    found = batch_1(steps("awq", "none"))
    assert found["awq"].speed_up == pytest.approx(8.1 / 2.1)
    assert found["none"] == AtBatch1(1.0, 1.0, 1.0)
    assert batch_1(steps("awq", "int8")) == {}
    assert batch_1(None) == {}


def test_the_lowest_and_the_highest_pass_are_known() -> None:
    """Beside whatever the unquantised model's own passes were, where it is not the first method."""
    first, *others = steps("awq", "none").passes
    parts = {"none": [1 / 4.0, 1 / 4.4], "awq": [1.0, 1.0]}
    changed = [
        replace(
            one, steps=tuple(replace(s, speed_up=parts[one.method].pop()) for s in one.steps[:1])
        )
        for one in (first, *others)
    ]
    found = batch_1(BatchSteps({}, tuple(changed)))
    assert (found["awq"].lowest, found["awq"].highest) == pytest.approx((4.0, 4.4))
    assert found["awq"].speed_up == pytest.approx((4.0 * 4.4) ** 0.5)


def test_passes_that_differ_decide_nothing() -> None:
    steady = steps("none", "awq")
    slower = beside(machine("awq", 20, rate=10.0, slower=1.5), steady.passes[0])
    busy = replace(steady, passes=(*steady.passes, slower))
    found = frontier_steps(busy, BITS)
    assert found.turning_points[0].sentence.endswith("differ by up to 50 %: do not rely on it.")
    assert not found.turning_points[0].steady
    assert "rely" not in frontier_steps(steady, BITS).turning_points[0].sentence
    assert set(batch_1(busy)) == {"none"}


def test_a_machine_that_was_slower_in_a_pass_leaves_what_was_taken_in_turns() -> None:
    """Its first pass was a quarter slower, of the first method as of the one beside it."""
    slow, usual = machine("none", 80, rate=50.0, slower=1.25), machine("none", 80, rate=50.0)
    awq = beside(machine("awq", 20, rate=10.0, slower=1.25), slow)
    measured = BatchSteps({}, (slow, awq, beside(machine("awq", 20, rate=10.0), usual), usual))
    found = frontier_steps(measured, BITS)
    assert "rely" not in found.turning_points[0].sentence
    assert found.lines[0].spreads == (0.0,) * len(BATCHES)
    assert batch_1(measured)["awq"].speed_up == pytest.approx(8.1 / 2.1)


def test_a_claim_at_batch_1_needs_steady_passes_there_alone() -> None:
    none, awq = (one for one in steps("none", "awq").passes[:2])
    decodes = [
        replace(step, speed_up=step.speed_up * (1 if step.size == 1 else 1.5)) for step in awq.steps
    ]
    measured = BatchSteps({}, (none, awq, replace(awq, steps=tuple(decodes))))
    found = frontier_steps(measured, BITS)
    assert found.turning_points[0].sentence.endswith("differ by up to 50 %: do not rely on it.")
    assert batch_1(measured)["awq"].speed_up == pytest.approx(8.1 / 2.1)
