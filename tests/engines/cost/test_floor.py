"""The floor of a step, against products worked by hand for a model of round numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.cost.floor import Products, Roof, step_bytes, step_floor, step_flops
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.weights import WeightChoice
from llmbench.engines.cost.work import StepWork, model_work

SHAPE = resolve_shape("smollm2-135m")
# Its config.json: 30 layers of 576, 9 heads and 3 KV heads of 64, an MLP of 1536, 49152 tokens.
LINEAR = 30 * (576 * (576 + 2 * 192) + 576 * 576 + 2 * 576 * 1536 + 1536 * 576)
HEAD = 49152 * 576
KV = 30 * 2 * 3 * 64


def all_at(bytes_per_s: float, flops_per_s: float) -> Products[Roof]:
    return Products(*[Roof(bytes_per_s, flops_per_s, "a test")] * 3)


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 2), ("float32", 4)])
def test_a_decode_step_reads_every_weight_once_and_every_key(dtype: str, size: int) -> None:
    model = model_work(replace(SHAPE, dtype=dtype))
    work = StepWork.of((), decode_tokens=8, decode_context_tokens=8 * 129)
    assert step_bytes(work, model) == size * (LINEAR + HEAD + KV * (8 * 129 + 8))
    attention = 4 * 30 * 9 * 64 * 8 * 129
    assert step_flops(work, model) == (8 * 2 * LINEAR, 8 * 2 * HEAD, attention)


def test_of_few_greedy_rows_a_model_may_read_less_of_its_output_projection() -> None:
    model = replace(
        model_work(replace(SHAPE, dtype="bfloat16")), greedy_head_bytes=(1.1 * HEAD, 1.2 * HEAD)
    )
    rest = 2 * LINEAR
    for rows, head in ((1, 1.1 * HEAD), (2, 1.2 * HEAD), (3, 2 * HEAD)):
        work = StepWork.of((), decode_tokens=rows, decode_context_tokens=0)
        assert step_bytes(work, model) == pytest.approx(rest + head + 2 * KV * rows)
    last = StepWork.of([(4, 1)], sampled_rows=1)  # of a prompt
    assert step_bytes(last, model) == pytest.approx(rest + 1.1 * HEAD + 2 * KV * 6)
    # Beside a prompt the step is computed in another way.
    beside = StepWork.of([(0, 5)], decode_tokens=1, decode_context_tokens=0, sampled_rows=1)
    assert step_bytes(beside, model) == rest + 2 * HEAD + 2 * KV * (5 + 5 + 1)


def test_a_prompt_that_samples_nothing_reads_no_output_projection() -> None:
    model = model_work(replace(SHAPE, dtype="bfloat16"))
    whole = StepWork.of([(0, 512)], sampled_rows=1)
    part = StepWork.of([(0, 512)], sampled_rows=0)
    assert step_bytes(whole, model) - step_bytes(part, model) == 2 * HEAD
    assert step_flops(whole, model).head == 2 * HEAD
    assert step_flops(part, model) == step_flops(whole, model)._replace(head=0)


def test_the_longer_of_the_two_times_is_the_floor() -> None:
    model = model_work(replace(SHAPE, dtype="bfloat16"))
    rates = all_at(30e9, 400e9)
    decode = step_floor(StepWork.of((), 1, 128), model, rates)
    prefill = step_floor(StepWork.of([(0, 2048)], sampled_rows=1), model, rates)
    assert (decode.bound, decode.seconds) == ("memory", decode.bytes_moved / 30e9)
    assert (prefill.bound, prefill.seconds) == ("compute", prefill.flops / 400e9)


def test_each_product_takes_its_own_arithmetics_time() -> None:
    """By one rate for all, a step whose layers alone are rounded would seem further from it."""
    model = model_work(replace(SHAPE, dtype="bfloat16"), WeightChoice("awq"))
    linear, head, attention = (Roof(30e9, rate, "a test") for rate in (400e9, 100e9, 50e9))
    work = StepWork.of((), 64, 64 * 128)
    floor = step_floor(work, model, Products(linear, head, attention))
    seconds = 64 * 2 * (LINEAR / 400e9 + HEAD / 100e9) + 64 * 128 * 4 * 30 * 9 * 64 / 50e9
    assert (floor.bound, floor.seconds) == ("compute", pytest.approx(seconds))


def test_the_floor_of_smollm2_is_the_one_known() -> None:
    """99 to 128 tokens/s in bfloat16 at 27 to 35 GB/s, and about 270 MB of weights."""
    model = model_work(replace(SHAPE, dtype="bfloat16"))
    work = StepWork.of((), 1, 128)
    assert step_bytes(work, model) == pytest.approx(272e6, rel=0.01)
    for bandwidth, speed in ((27e9, 99), (35e9, 128)):
        floor = step_floor(work, model, all_at(bandwidth, 400e9))
        assert 1 / floor.seconds == pytest.approx(speed, rel=0.02)


def test_four_bits_move_less_but_for_the_output_projection() -> None:
    shape = replace(SHAPE, dtype="bfloat16")
    dense, packed = model_work(shape), model_work(shape, WeightChoice("awq"))
    work = StepWork.of((), 1, 128)
    saved = step_bytes(work, dense) - step_bytes(work, packed)
    assert 2 * LINEAR * 0.72 < saved < 2 * LINEAR * 0.75


def test_the_shape_is_the_published_one() -> None:
    import llmbench.engines.cost.shapes as shapes

    file = Path(shapes.__file__).with_name("shapes") / "smollm2-135m.json"
    data = json.loads(file.read_text())
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
    assert [data[name] for name in names] == [576, 1536, 30, 49152]
