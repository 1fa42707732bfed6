"""Counts worked by hand for Llama-3-8B: 32 layers, hidden 4096, 32 heads of 128, 8 KV heads, MLP
14336, vocabulary 128256."""

from __future__ import annotations

import random

import pytest
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.weights import WeightChoice
from llmbench.engines.cost.work import StepWork, attention_pairs, keys_read, model_work
from llmbench.engines.errors import ConfigError

# q and o 4096 x 4096, k and v 1024 x 4096, gate, up and down 14336 x 4096.
LAYER_WEIGHTS = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
VOCABULARY = 128256 * 4096


@pytest.mark.parametrize("window", [None, 1, 5, 64])
def test_pairs_are_what_a_mask_lets_through(window: int | None) -> None:
    """Against counting them one by one, on fresh chunks."""
    draw = random.Random(random.randrange(2**32))
    for _ in range(50):
        start, length = draw.randrange(80), draw.randrange(1, 40)
        masked = [
            (query, key)
            for query in range(start, start + length)
            for key in range(query + 1)
            if window is None or query - key < window
        ]
        assert attention_pairs(start, length, window) == len(masked), (start, length)
        assert keys_read(start, length, window) == len({key for _, key in masked})


def test_a_step_is_sums_over_its_chunks() -> None:
    work = StepWork.of([(0, 4), (10, 3)], 2, 300, 3, swap_tokens=16)
    assert work.prefill_tokens == 7
    assert work.prefill_chunks == 2
    assert work.prefill_pairs == (1 + 2 + 3 + 4) + (11 + 12 + 13)
    assert work.prefill_context_tokens == 4 + 13
    assert (work.tokens, work.decode_context_tokens) == (9, 300)
    assert (work.sampled_rows, work.swap_tokens) == (3, 16)


def test_decodes_alone_sample_one_row_each() -> None:
    assert StepWork.of(decode_tokens=5, decode_context_tokens=50).sampled_rows == 5


def test_llama_3_8b() -> None:
    work = model_work(resolve_shape("llama-3-8b"))
    assert work.linear_flops_per_token == 2 * 32 * LAYER_WEIGHTS
    assert work.linear_bytes == 2 * 32 * LAYER_WEIGHTS
    assert (work.head_flops_per_row, work.head_bytes) == (2 * VOCABULARY, 2 * VOCABULARY)
    # 2 (K, V) x 32 layers x 8 heads x 128 x 2 bytes.
    assert work.kv_bytes_per_token == 131072
    # 2 products x 2 operations x 32 layers x 4096.
    assert work.attention_flops_per_pair == 524288
    assert work.all_reduces == 0
    # Outputs and inputs of the maps, the residual stream four times; 32 layers, 2 bytes each.
    maps = (6144 + 4096) + (4096 + 4096) + (28672 + 4096) + (4096 + 14336)
    assert work.activation_bytes_per_token == 32 * 2 * (maps + 4 * 4096) == 5_505_024


def test_operations_are_two_a_parameter() -> None:
    """The rule of thumb, 2 P a token, with P all but the embedding and the norms."""
    work = model_work(resolve_shape("llama-3-8b"))
    assert (work.linear_flops_per_token + work.head_flops_per_row) == pytest.approx(
        2 * (8.03e9 - VOCABULARY), rel=1e-3
    )


def test_stored_weights_are_the_parameters() -> None:
    """16.06 GB in 16 bits; norms are left out, a tied table is held once."""
    for name in ("llama-3-8b", "llama-3-70b", "qwen3-8b", "smollm2-135m"):
        model = resolve_shape(name)
        assert model_work(model).stored_bytes == pytest.approx(2 * model.parameter_count, rel=3e-4)


@pytest.mark.parametrize("kv_dtype", ["fp8", "int8"])
def test_codes_of_keys_and_values_bring_their_scales(kv_dtype: str) -> None:
    """A byte an element, and two beside the 128 of each of 2 x 32 x 8 heads; a device of four has
    a quarter. An engine with one scale a tensor has the codes alone."""
    shape = resolve_shape("llama-3-8b")
    assert model_work(shape, kv_dtype=kv_dtype).kv_bytes_per_token == 512 * (128 + 2)
    four = model_work(shape, tensor_parallel=4, kv_dtype=kv_dtype)
    assert four.kv_bytes_per_token == 128 * (128 + 2)
    assert model_work(shape, kv_dtype=kv_dtype, kv_scale_bytes=0).kv_bytes_per_token == 65536


def test_a_quantised_model_keeps_its_vocabulary_in_16_bits() -> None:
    work = model_work(resolve_shape("llama-3-8b"), WeightChoice("gptq"))
    assert work.linear_bytes == 32 * LAYER_WEIGHTS * (4 + 16 / 128) / 8
    assert work.head_bytes == 2 * VOCABULARY


def test_int8_quantises_the_output_projection_too() -> None:
    """A byte a weight and four a row; the embedding beside it stays in 16 bits, tied or not."""
    rows, hidden = 49152, 576
    work = model_work(resolve_shape("smollm2-135m"), WeightChoice("w8a8"))
    assert work.head_bytes == rows * (hidden + 4)
    assert work.stored_bytes == work.linear_bytes + work.head_bytes + 2 * rows * hidden


def test_the_output_projection_costs_what_is_asked_of_it() -> None:
    """Llama-3-8B's is a matrix of its own: 8-bit codes and four bytes a row take its place."""
    shape = resolve_shape("llama-3-8b")
    plain = model_work(shape, WeightChoice("awq", head="none"))
    rounded = model_work(shape, WeightChoice("awq", head="int8"))
    assert plain == model_work(shape, WeightChoice("awq"))
    assert rounded.head_bytes == VOCABULARY + 4 * 128256
    assert plain.stored_bytes - rounded.stored_bytes == VOCABULARY - 4 * 128256
    assert rounded.linear_bytes == plain.linear_bytes
    assert model_work(shape, WeightChoice("w8a8", head="none")).head_bytes == 2 * VOCABULARY


def test_tensor_parallelism_splits_all_but_the_message() -> None:
    """Llama-3-70B on four: 2 all-reduces in each of 80 layers, of 8192 elements in 16 bits."""
    one = model_work(resolve_shape("llama-3-70b"))
    four = model_work(resolve_shape("llama-3-70b"), tensor_parallel=4)
    for field in (
        "linear_flops_per_token",
        "linear_bytes",
        "head_bytes",
        "attention_flops_per_pair",
        "kv_bytes_per_token",
        "stored_bytes",
    ):
        assert getattr(four, field) == getattr(one, field) / 4, field
    assert (four.all_reduces, four.all_reduce_bytes_per_token) == (160, 16384)


def test_kv_heads_fewer_than_devices_are_held_by_several() -> None:
    """Llama-3-70B has 8: sixteen devices hold one each, 2 x 80 x 128 x 2 bytes a token."""
    work = model_work(resolve_shape("llama-3-70b"), tensor_parallel=16)
    assert work.kv_bytes_per_token == 40960


@pytest.mark.parametrize("devices", [0, 3, 5, 64])
def test_a_split_that_does_not_go_up(devices: int) -> None:
    with pytest.raises(ConfigError, match="tensor_parallel"):
        model_work(resolve_shape("llama-3-8b"), tensor_parallel=devices)
