from __future__ import annotations

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.gptq_format import from_gptq
from llmbench.engines.quantization.quantized import PackedSource, QuantizedModel
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.packing import PackedInt4
from torch import Tensor

from .dequantized import dequantized_weight

CPU = torch.device("cpu")


def word(*nibbles: int) -> int:
    """Eight nibbles, the first lowest, as a signed 32-bit number."""
    value = sum(nibble << (4 * place) for place, nibble in enumerate(nibbles))
    return value - 2**32 if value >= 2**31 else value


def written(q: Tensor, zeros: Tensor, stored_less: int) -> tuple[Tensor, Tensor]:
    """qweight and qzeros by the format's words, from q [K, N] and zeros [G, N]."""
    qweight = [[word(*column) for column in rows.T.tolist()] for rows in q.split(8)]
    stored = (zeros - stored_less) % 16
    qzeros = [[word(*part) for part in row.view(-1, 8).tolist()] for row in stored]
    return torch.tensor(qweight, dtype=torch.int32), torch.tensor(qzeros, dtype=torch.int32)


@pytest.mark.parametrize(("form", "stored"), [("gptq", 0x7), ("gptq_v2", 0x8)])
def test_a_layer_by_hand(form: str, stored: int) -> None:
    """in_features 8, out_features 8, one group. Column 0 holds 1 … 8, so its word reads
    0x87654321, negative as int32; its zero point is 8, the others' 0 (stored 0xF less one)."""
    qweight = torch.tensor([[0x87654321 - 2**32, *[0] * 7]], dtype=torch.int32)
    others = 0xFFFFFFF0 if form == "gptq" else 0
    qzeros = torch.tensor([[(others | stored) - (2**32 if others else 0)]], dtype=torch.int32)
    scales = torch.full((1, 8), 0.5).half()
    read = from_gptq(qweight, qzeros, scales, torch.zeros(8, dtype=torch.int32), form)
    assert read.order is None
    assert isinstance(read.weight, PackedInt4)
    assert read.weight.group_size == 8
    expected = torch.zeros(8, 8)
    expected[0] = torch.tensor([-3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0])
    assert torch.equal(dequantized_weight(read.weight), expected)


@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize(("k", "group"), [(64, 32), (96, 64), (40, 40), (72, 32)])
def test_weights_are_what_the_format_says(k: int, group: int, act_order: bool, form: str) -> None:
    """W[k, n] = scales[g_idx[k], n] · (q - z), for inputs in any order and a shorter last group."""
    n, groups = 16, -(-k // group)
    q, zeros = torch.randint(0, 16, (k, n)), torch.randint(0, 16, (groups, n))
    scales = torch.rand(groups, n).half()
    g_idx = torch.arange(k, dtype=torch.int32) // group
    if act_order:
        g_idx = g_idx[torch.randperm(k)]
    weight = scales.float()[g_idx.long()] * (q - zeros[g_idx.long()])
    read = from_gptq(*written(q, zeros, int(form == "gptq")), scales, g_idx, form)
    assert (read.order is None) == bool((g_idx.diff() >= 0).all())
    assert isinstance(read.weight, PackedInt4)
    assert read.weight.group_size in (group, 8 if k == 72 else 32)
    x = torch.randn(3, k)
    model = QuantizedModel(Scheme("gptq", 4, group), {}, {"a": read})
    linear = PackedSource(model, torch.float32, CPU).linear(["a"])
    torch.testing.assert_close(linear(x), x @ weight, rtol=1e-5, atol=1e-4)
    assert linear.weight_bytes >= k * n // 2


def test_what_is_no_layer_is_refused() -> None:
    q, zeros = torch.zeros(16, 8).long(), torch.zeros(2, 8).long()
    qweight, qzeros = written(q, zeros, 0)
    scales, g_idx = torch.ones(2, 8).half(), torch.arange(16) // 8
    with pytest.raises(ModelError, match="neither gptq nor gptq_v2"):
        from_gptq(qweight, qzeros, scales, g_idx, "marlin")
    with pytest.raises(ModelError, match="not shapes"):
        from_gptq(qweight, qzeros, scales[:1], g_idx)
    with pytest.raises(ModelError, match="groups of one size"):
        from_gptq(qweight, qzeros, scales, (torch.arange(16) > 2).int())
    with pytest.raises(ModelError, match="groups of one size"):
        from_gptq(qweight, qzeros, scales, 2 * g_idx)
