"""Times worked by hand for Llama-3-8B (see test_work.py) and Llama-3-70B at full efficiency."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from llmbench.engines.cost.hardware import Hardware, resolve_hardware
from llmbench.engines.cost.roofline import (
    COLLECTIVE_LATENCY_S,
    LINK_EFFICIENCY,
    Efficiency,
    Roofline,
    kv_capacity_tokens,
)
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.weights import WeightChoice
from llmbench.engines.cost.work import StepWork
from llmbench.engines.errors import ConfigError
from llmbench.engines.trace import PhaseTimes

FULL = Efficiency(1.0, 1.0)
LAYERS = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)  # 6.98e9 weights
HEAD = 128256 * 4096
H100_BYTES, H100_FLOPS = 3.35e12, 989.5e12


def roofline(
    model: str = "llama-3-8b",
    hardware: str = "h100",
    efficiency: Efficiency = FULL,
    **settings: Any,
) -> Roofline:
    return Roofline(
        resolve_hardware(hardware), resolve_shape(model), efficiency=efficiency, **settings
    )


def test_one_decode_reads_every_weight() -> None:
    times = roofline().price(StepWork.of(decode_tokens=1, decode_context_tokens=1000))
    assert times.linear_s == pytest.approx(2 * (LAYERS + HEAD) / H100_BYTES, rel=1e-3)
    # 1000 keys read and one written, 131072 bytes each.
    assert times.attention_s == pytest.approx(1001 * 131072 / H100_BYTES)
    assert times.prepare_s == 0.0002
    assert times.communicate_s == times.swap_s == times.schedule_s == times.host_s == 0


def test_a_step_that_is_bound_by_memory_moves_its_activations_too() -> None:
    """64 tokens: 14.0 GB of weights, and 5.5 MB of activations a token."""
    times = roofline().price(
        StepWork.of(decode_tokens=64, decode_context_tokens=64, sampled_rows=0)
    )
    assert times.linear_s == pytest.approx((2 * LAYERS + 64 * 5_505_024) / H100_BYTES)


def test_a_long_prompt_is_bound_by_arithmetic() -> None:
    times = roofline().price(StepWork.of([(0, 8192)], sampled_rows=1))
    assert times.linear_s == pytest.approx(
        2 * LAYERS * 8192 / H100_FLOPS + 2 * HEAD / H100_BYTES, rel=1e-6
    )
    # 8192 x 8193 / 2 pairs of 524288 operations.
    assert times.attention_s == pytest.approx(8192 * 8193 / 2 * 524288 / H100_FLOPS)


def test_decodes_that_join_a_small_prompt_read_no_weight_again() -> None:
    """32 tokens are bound by the weights: a few more cost their activations only."""
    prefill = StepWork.of([(0, 32)])
    mixed = prefill._replace(decode_tokens=8, decode_context_tokens=800)
    apart = roofline().price(
        StepWork.of(decode_tokens=8, decode_context_tokens=800, sampled_rows=0)
    )
    alone, together = roofline().price(prefill), roofline().price(mixed)
    assert together.linear_s < 1.01 * alone.linear_s
    assert together.attention_s == pytest.approx(alone.attention_s + apart.attention_s)


def test_the_output_projection_is_for_sampled_rows() -> None:
    unsampled = roofline().price(StepWork.of([(0, 512)], sampled_rows=0))
    sampled = roofline().price(StepWork.of([(0, 512)], sampled_rows=1))
    assert sampled.linear_s - unsampled.linear_s == pytest.approx(2 * HEAD / H100_BYTES)
    assert (unsampled.sample_s, sampled.sample_s > 0) == (0, True)


def test_efficiency_divides_each_rate() -> None:
    decode = StepWork.of(decode_tokens=4, decode_context_tokens=4000)
    prefill = StepWork.of([(0, 8192)])
    slow = roofline(efficiency=Efficiency(prefill=0.5, decode=0.25))
    assert slow.price(decode).linear_s == pytest.approx(4 * roofline().price(decode).linear_s)
    assert slow.price(prefill).linear_s == pytest.approx(2 * roofline().price(prefill).linear_s)
    with pytest.raises(ConfigError, match=r"efficiency\.decode"):
        Efficiency(decode=1.5)


@pytest.mark.parametrize(("quant", "ratio"), [("gptq", 3.87), ("fp8", 2.0), ("nvfp4", 3.56)])
def test_fewer_bytes_make_a_decode_faster(quant: str, ratio: float) -> None:
    """By the ratio of bytes, on all but the unquantised output projection."""
    work = StepWork.of(decode_tokens=1, decode_context_tokens=1, sampled_rows=0)
    faster = roofline(weights=WeightChoice(quant)).price(work).linear_s
    assert roofline().price(work).linear_s / faster == pytest.approx(ratio, rel=0.01)


def test_fp8_arithmetic_doubles_a_prompts_speed_and_widened_weights_do_not() -> None:
    work = StepWork.of([(0, 8192)])
    plain = roofline().price(work).linear_s
    assert roofline(weights=WeightChoice("fp8")).price(work).linear_s == pytest.approx(plain / 2)
    assert roofline(weights=WeightChoice("awq")).price(work).linear_s == pytest.approx(plain)
    assert roofline(weights=WeightChoice("nvfp4")).price(work).linear_s == pytest.approx(plain)


def test_int8_doubles_the_speed_of_every_product() -> None:
    work = StepWork.of([(0, 8192)], sampled_rows=8192)
    plain = roofline().price(work).linear_s
    eight = roofline(weights=WeightChoice("w8a8")).price(work).linear_s
    assert eight == pytest.approx(plain / 2, rel=0.01)


def test_ring_all_reduces_of_llama_3_70b_on_four() -> None:
    """Each of 160 sends 2 x 3/4 of 100 x 16384 bytes and makes 6 hops; then 3 hops gather the
    other devices' float32 logits of one row."""
    times = roofline("llama-3-70b", tensor_parallel=4).price(
        StepWork.of([(0, 100)], sampled_rows=1)
    )
    rate = 450e9 * LINK_EFFICIENCY
    reduced = 160 * (1.5 * 100 * 16384 / rate + 6 * 1.9e-6 + COLLECTIVE_LATENCY_S)
    gathered = 0.75 * 128256 * 4 / rate + 3 * 1.9e-6 + COLLECTIVE_LATENCY_S
    assert times.communicate_s == pytest.approx(reduced + gathered)


def test_a_ring_beyond_the_node_is_as_fast_as_the_network() -> None:
    work = StepWork.of([(0, 4096)])
    inside = roofline("llama-3-70b", tensor_parallel=8).price(work).communicate_s
    across = (
        roofline("llama-3-70b", tensor_parallel=8, devices_per_node=4).price(work).communicate_s
    )
    assert 8 < across / inside < 9.5  # 450 against 50 GB/s, less what latency evens out


def test_a_swap_takes_the_host_link() -> None:
    times = roofline().price(StepWork(swap_tokens=1000))
    assert times.swap_s == pytest.approx(2.5e-6 + 1000 * 131072 / (64e9 * LINK_EFFICIENCY))
    assert times.total_s == times.swap_s


def test_hardware_that_lacks_what_a_step_needs() -> None:
    with pytest.raises(ConfigError, match=r"hardware\.host_link"):
        roofline(hardware="trainium2").price(StepWork(swap_tokens=1))
    with pytest.raises(ConfigError, match=r"hardware\.link"):
        roofline(hardware="cpu", tensor_parallel=2)
    with pytest.raises(ConfigError, match="quant: 'fp8'"):
        roofline(hardware="a100", weights=WeightChoice("fp8"))


def test_parts_sum_to_the_step() -> None:
    times = roofline("llama-3-70b", tensor_parallel=4).price(StepWork.of([(0, 64)], 8, 4000, 9, 16))
    assert times.total_s == pytest.approx(
        sum(getattr(times, phase.name) for phase in fields(PhaseTimes))
    )
    assert roofline().price(StepWork()).total_s == 0


def test_kv_capacity_is_what_the_weights_leave() -> None:
    """A device of 20 GiB with Llama-3-8B in 16 bits, all but the norms; nine tenths of the rest. A
    token of codes takes 512 x (128 + 2) bytes."""
    hardware = Hardware(
        name="mine",
        peak_tflops={"bf16": 1},
        memory_gib=20,
        memory_gb_per_s=1,
        step_overhead_ms=0,
        sources={"all": "made up"},
    )
    model = resolve_shape("llama-3-8b")
    free = 20 * 2**30 - 2 * (LAYERS + 2 * HEAD)
    assert kv_capacity_tokens(hardware, model) == int(0.9 * free // 131072)
    assert kv_capacity_tokens(hardware, model, kv_dtype="fp8", free_memory_fraction=0.5) == int(
        0.5 * free // 66560
    )
    with pytest.raises(ConfigError, match=r"1 .* 141\.1 GB for weights leave nothing"):
        kv_capacity_tokens(hardware, resolve_shape("llama-3-70b"))
    # 141.1 GB over 8 are 17.6 of each's 21.5, and 20.6 with 3 beside; over 4 they are 35.
    with pytest.raises(ConfigError, match=r"expected 8 or more devices, .*\(--quant\)") as caught:
        kv_capacity_tokens(hardware, resolve_shape("llama-3-70b"), beside_weights={"a step": 3e9})
    assert "--max-model-len" not in str(caught.value)
    with pytest.raises(ConfigError, match="leave nothing; or lower --max-num-batched-tokens"):
        kv_capacity_tokens(hardware, model, beside_weights={"a step": 20e9})
    with pytest.raises(ConfigError, match="free_memory_fraction: 90 "):
        kv_capacity_tokens(hardware, model, free_memory_fraction=90)


def test_a_short_chunk_of_a_long_context_is_bound_by_its_keys() -> None:
    """One token after 10 000: 10 001 keys read, one written."""
    times = roofline().price(StepWork.of([(10_000, 1)]))
    assert times.attention_s == pytest.approx(10_002 * 131072 / H100_BYTES)
