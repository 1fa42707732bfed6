"""The eight-bit cache: its definition by hand, and what a suite of random cases cannot show."""

from __future__ import annotations

import math

import pytest
import torch
from llmbench.kernels.batch import ContiguousBatch
from llmbench.kernels.quantized_kv import QuantizedKV
from llmbench.kernels.reference import attention, quantized_kv
from llmbench.kernels.reference.quantized_kv import dequantize, quantize
from llmbench.kernels.registry import Implementation
from llmbench.kernels.specs.attention import AttentionCase
from torch.utils._python_dispatch import TorchDispatchMode

from .test_attention import DTYPES, others

E4M3 = torch.float8_e4m3fn
CODES = pytest.mark.parametrize("codes", [torch.int8, E4M3], ids=["int8", "fp8"])


def test_int8_by_hand() -> None:
    # The largest, 254, is 127 steps of 2. Halves of a step go to the even code.
    x = torch.tensor([254.0, -254.0, 2.9, 3.0, 5.0, -5.0, 0.9, 0.0])
    codes, scale = quantize(x, torch.int8)
    assert (scale.dtype, scale.item()) == (torch.bfloat16, 2.0)
    assert codes.tolist() == [127, -127, 1, 2, 2, -2, 0, 0]
    assert dequantize(codes, scale).tolist() == [254.0, -254.0, 2.0, 4.0, 4.0, -4.0, 0.0, 0.0]


def test_e4m3_by_hand() -> None:
    # The largest, 224, is 448 steps of 1/2. Of 16 · (1 + m / 8): 17 lies halfway between 16 and 18,
    # 19 between 18 and 20; the even m is taken. 2^-9 is the least subnormal, its half goes to 0.
    x = torch.tensor([224.0, -224.0, 8.5, 9.5, 0.5, 2.0**-10, 2.0**-11, -(2.0**-7 + 2.0**-11)])
    codes, scale = quantize(x, E4M3)
    assert (scale.dtype, scale.item()) == (torch.bfloat16, 0.5)
    steps = [448.0, -448.0, 16.0, 20.0, 1.0, 2.0**-9, 0.0, -(2.0**-6)]
    assert codes.float().tolist() == steps
    assert dequantize(codes, scale).tolist() == [step / 2 for step in steps]


def test_a_scale_rounded_down_saturates_and_does_not_wrap() -> None:
    # 1 / 127 is 1.007874 · 2^-7; a bfloat16 has 1.0078125 there, and next 1.015625.
    codes, scale = quantize(torch.tensor([1.0, -1.0]), torch.int8)
    assert scale.item() == 1.0078125 * 2.0**-7
    assert codes.tolist() == [127, -127]
    # 449 / 448 = 1.0022 is rounded to 1, and 449 is no e4m3.
    codes, scale = quantize(torch.tensor([449.0, -449.0]), E4M3)
    assert scale.item() == 1.0
    assert codes.float().tolist() == [448.0, -448.0]


class _DividesAsGpusDo(TorchDispatchMode):
    """By a number, PyTorch multiplies by its inverse on a GPU (`div_true_kernel_cuda`)."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by = args[1] if func is torch.ops.aten.div.Tensor else None
        if isinstance(by, int | float) or (isinstance(by, torch.Tensor) and by.ndim == 0):
            return args[0] * (torch.tensor(1.0) / by)
        return func(*args, **(kwargs or {}))


def test_the_same_codes_however_a_device_divides_by_a_number() -> None:
    # Scales halfway between two of bfloat16: the last bit of a division decides.
    halfway = 1 + (2 * torch.arange(128) + 1) * 2.0**-8
    x = 448 * halfway[:, None] * torch.tensor([1.0, 0.3])
    expected, scales = quantize(x, E4M3)
    with _DividesAsGpusDo():
        found, theirs = quantize(x, E4M3)
    assert torch.equal(theirs, scales)
    assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8))


@CODES
def test_a_scale_for_each_token_and_head(codes: torch.dtype) -> None:
    x = torch.randn(5, 3, 64)
    x[2, 1] *= 1000
    quantized, scales = quantize(x, codes)
    assert (quantized.shape, scales.shape) == (x.shape, (5, 3))
    for token in range(5):
        for head in range(3):
            alone, scale = quantize(x[token, head], codes)
            assert torch.equal(alone.float(), quantized[token, head].float())
            assert scale == scales[token, head]


@pytest.mark.parametrize("magnitude", [1e-20, 1e-3, 1.0, 300.0, 1e20])
def test_int8_is_within_half_a_step(magnitude: float) -> None:
    x = torch.randn(200, 64, dtype=torch.float64) * magnitude
    error = (dequantize(*quantize(x.float(), torch.int8)).double() - x).abs()
    # The scale was rounded to 8 significant bits, so a step is at most 1 + 2^-8 times max / 127;
    # float32 arithmetic adds less than 2^-20 of the largest.
    most = x.abs().amax(-1, keepdim=True)
    assert bool((error <= most / 127 / 2 * (1 + 2.0**-8) + most * 2.0**-20).all())


@pytest.mark.parametrize("magnitude", [1e-20, 1e-3, 1.0, 300.0, 1e20])
def test_e4m3_is_within_a_sixteenth_or_half_the_least_step(magnitude: float) -> None:
    x = torch.randn(200, 64, dtype=torch.float64) * magnitude
    codes, scales = quantize(x.float(), E4M3)
    error = (dequantize(codes, scales).double() - x).abs()
    # Three bits of mantissa: neighbours are at most 1/8 apart, so half of that is 2^-4 of the
    # number; below 2^-6 steps they are 2^-9 apart. Saturation takes less: 2^-8.
    least = 2.0**-10 * scales.double().unsqueeze(-1)
    assert bool((error <= torch.maximum(x.abs() * 2.0**-4, least) * (1 + 2.0**-18)).all())


@CODES
def test_zeros_stay_zeros(codes: torch.dtype) -> None:
    x = torch.zeros(2, 80)
    x[1, 3] = -1e-44  # nothing that a scale in bfloat16 could tell from zero
    back = dequantize(*quantize(x, codes))
    assert bool((back[0] == 0).all())
    assert bool((back.abs() <= 1e-37).all())


@CODES
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_hidden(codes: torch.dtype, bad: float) -> None:
    x = torch.randn(2, 64)
    x[0, 7] = bad
    back = dequantize(*quantize(x, codes))
    assert math.isnan(back[0, 7])
    assert bool(torch.isfinite(back[1]).all())


def test_other_dtypes_have_no_codes() -> None:
    with pytest.raises(KeyError):
        quantize(torch.ones(4), torch.uint8)


def _empty(places: tuple[int, ...], case: AttentionCase, codes: torch.dtype) -> QuantizedKV:
    """A cache in which every scale, and every code that can be, is NaN."""
    shape = (*places, case.kv_heads, case.head_dim)
    poison = torch.full(shape, 0x7F, dtype=torch.uint8).view(codes)
    scales = torch.full(shape[:-1], math.nan, dtype=torch.bfloat16)
    return QuantizedKV(poison, poison.clone(), scales, scales.clone())


def _fill(cache: QuantizedKV, at: object, tokens: int, case: AttentionCase) -> None:
    """Random tokens at cache[at], heads of unlike sizes."""
    for codes, scales in ((cache.keys, cache.key_scales), (cache.values, cache.value_scales)):
        x = torch.randn(tokens, case.kv_heads, case.head_dim) * torch.rand(case.kv_heads, 1) * 3
        codes[at], scales[at] = quantize(x, codes.dtype)  # pyright: ignore[reportArgumentType]


def _contiguous(case: AttentionCase, codes: torch.dtype) -> tuple[QuantizedKV, ContiguousBatch]:
    """Sequences in reverse order with gaps between."""
    end = sum(case.kv_lengths) + 5 * len(case.kv_lengths)
    cache = _empty((end,), case, codes)
    starts = []
    for length in case.kv_lengths:
        end -= length + 5
        starts.append(end)
        _fill(cache, slice(end, end + length), length, case)
    return cache, ContiguousBatch(case.query_lengths, case.kv_lengths, tuple(starts))


@CODES
def test_the_reference_attends_to_codes_times_scales(codes: torch.dtype) -> None:
    """Two tokens of one head; the product is written out."""
    cache, batch = _contiguous(AttentionCase((1,), (2,), head_dim=4, kv_heads=1, group=1), codes)
    q = torch.randn(1, 1, 4)
    (start,) = batch.starts
    keys, values = torch.zeros(2, 2, 1, 4).unbind()
    for token in range(2):
        for d in range(4):
            at = (start + token, 0)
            keys[token, 0, d] = float(cache.keys[at][d]) * float(cache.key_scales[at])
            values[token, 0, d] = float(cache.values[at][d]) * float(cache.value_scales[at])
    plain = ContiguousBatch((1,), (2,), (0,))
    expected = attention.contiguous_attention(q, keys, values, plain, 0.5)
    ours = quantized_kv.quantized_contiguous_attention(q, cache, batch, 0.5)
    assert torch.equal(ours, expected)


@CODES
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("implementation", others("quantized_contiguous_attention"))
def test_every_code_is_read(
    implementation: Implementation, dtype: torch.dtype, codes: torch.dtype
) -> None:
    """Attention to a single token is its value: 16 sequences of one hold all 256 codes."""
    values = torch.arange(256, dtype=torch.uint8)
    if codes == E4M3:
        values[values & 0x7F == 0x7F] = 0x7E  # two codes are NaN
    values = values.view(codes).view(16, 1, 16)
    scales = torch.full((16, 1), 0.5, dtype=torch.bfloat16)
    cache = QuantizedKV(torch.zeros_like(values), values, scales, scales)
    batch = ContiguousBatch((1,) * 16, (1,) * 16, tuple(range(16)))
    out = implementation.function(torch.randn(16, 2, 16).to(dtype), cache, batch, 0.25)
    assert torch.equal(out.float(), (values.float() / 2).expand(16, 2, 16))


@pytest.mark.parametrize(
    "implementation", others("quantized_cache_write"), ids=lambda one: one.name
)
@CODES
def test_write_rounds_every_bfloat16_as_the_reference(
    implementation: Implementation, codes: torch.dtype
) -> None:
    """All finite numbers, a head each, beside the number that makes the scale 1."""
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    largest = {torch.int8: 127.0, E4M3: 448.0}[codes]
    numbers = numbers[numbers.float().abs() <= largest]
    k = torch.zeros(len(numbers), 1, 16, dtype=torch.bfloat16)
    k[:, 0, 0], k[:, 0, 9] = largest, numbers
    case = AttentionCase((), (), head_dim=16, kv_heads=1)
    cache = _empty((len(numbers),), case, codes)
    implementation.function(k, -k, cache, torch.arange(len(numbers)))
    rounded = numbers.float() if codes.is_floating_point else numbers.float().round()
    assert torch.equal(cache.keys[:, 0, 9].float(), rounded.to(codes).float())
    assert torch.equal(cache.values[:, 0, 9].float(), (-rounded).to(codes).float())
    assert bool((cache.key_scales == 1).all())


@pytest.mark.parametrize(
    "implementation", others("quantized_cache_write"), ids=lambda one: one.name
)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@CODES
def test_write_does_not_hide_what_is_not_finite(
    implementation: Implementation, bad: float, codes: torch.dtype
) -> None:
    k = torch.randn(2, 1, 32, dtype=torch.bfloat16)
    k[0, 0, 5] = bad
    cache = _empty((2,), AttentionCase((), (), head_dim=32, kv_heads=1), codes)
    implementation.function(k, k, cache, torch.arange(2))
    back = dequantize(cache.keys, cache.key_scales)
    assert not math.isfinite(back[0, 0, 5])
    assert bool(torch.isfinite(back[1]).all())
