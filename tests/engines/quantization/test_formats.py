from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.formats import from_awq, to_awq
from llmbench.kernels.packing import pack, unpack


def test_a_layer_by_hand() -> None:
    """Columns 0-7 hold their own number, 8-15 likewise; low nibble first they are stored as
    0 2 4 6 1 3 5 7, so the words read 0x75316420 and 0xFDB9ECA8 (negative as int32)."""
    q = torch.arange(16)[:, None].expand(16, 2)  # out_features 16, in_features 2
    zeros = torch.tensor([[1], *[[0]] * 14, [15]])
    tensors = to_awq(pack(q, torch.full((16, 1), 0.5), zeros, 2))
    assert tensors["qweight"].dtype == tensors["qzeros"].dtype == torch.int32
    words = [0x75316420, 0xFDB9ECA8 - 2**32]
    assert tensors["qweight"].tolist() == [words, words]  # [in_features, out_features / 8]
    # Column 0 is nibble 0 of word 0; column 15 nibble 7, the sign, of word 1.
    assert tensors["qzeros"].tolist() == [[1, 0xF0000000 - 2**32]]
    assert tensors["scales"].dtype == torch.float16
    assert tensors["scales"].tolist() == [[0.5] * 16]


@settings(deadline=None)
@given(words=st.integers(1, 3), groups=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_writing_and_reading_are_inverse(words: int, groups: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n, k = 8 * words, 32 * groups
    packed = pack(
        torch.randint(0, 16, (n, k), generator=generator),
        torch.rand(n, groups, generator=generator).half(),
        torch.randint(0, 16, (n, groups), generator=generator),
        32,
    )
    tensors = to_awq(packed)
    assert tensors["qweight"].shape == (k, n // 8)
    back = from_awq(**tensors)
    assert back.group_size == 32
    assert torch.equal(unpack(back), unpack(packed))
    assert torch.equal(back.zeros, packed.zeros)
    assert torch.equal(back.scales, packed.scales)


def test_shapes_that_are_not_one_layers() -> None:
    qweight = torch.zeros(64, 2, dtype=torch.int32)
    with pytest.raises(ModelError, match="not shapes of one layer"):
        from_awq(qweight, torch.zeros(2, 1, dtype=torch.int32), torch.zeros(2, 16))
    with pytest.raises(ModelError, match="do not divide 64"):
        from_awq(qweight, torch.zeros(3, 2, dtype=torch.int32), torch.zeros(3, 16))
    with pytest.raises(ModelError, match="multiple of 8"):
        to_awq(pack(torch.zeros(12, 2), torch.ones(12, 1), torch.zeros(12, 1), 2))
