from __future__ import annotations

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.gptq import (
    GptqLayout,
    parse,
    quantization_config,
)
from llmbench.engines.quantization.quantized import PackedSource, QuantizedMap, QuantizedModel
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.grouped_int8 import GroupedInt8
from llmbench.kernels.int4 import PackedInt4
from llmbench.kernels.registry import KernelError
from torch import Tensor

from ..dequantized import dequantized_weight

CPU = torch.device("cpu")


def layout(form: str, group: int | None, bits: int = 4, act_order: bool = False) -> GptqLayout:
    return GptqLayout(Scheme("gptq", bits, group, symmetric=False, act_order=act_order), form)


def word(*codes: int) -> int:
    """Four or eight codes, the first lowest, as a signed 32-bit number."""
    bits = 32 // len(codes)
    value = sum(code << (bits * place) for place, code in enumerate(codes))
    return value - 2**32 if value >= 2**31 else value


def written(q: Tensor, zeros: Tensor, stored_less: int, bits: int) -> dict[str, Tensor]:
    """qweight and qzeros by the format's words, from q [K, N] and zeros [G, N]."""
    per_word = 32 // bits
    qweight = [[word(*column) for column in rows.T.tolist()] for rows in q.split(per_word)]
    stored = (zeros - stored_less) % 2**bits
    qzeros = [[word(*part) for part in row.view(-1, per_word).tolist()] for row in stored]
    return {
        "qweight": torch.tensor(qweight, dtype=torch.int32),
        "qzeros": torch.tensor(qzeros, dtype=torch.int32),
    }


@pytest.mark.parametrize(("form", "stored"), [("gptq", 0x7), ("gptq_v2", 0x8)])
def test_a_layer_by_hand(form: str, stored: int) -> None:
    """in_features 8, out_features 8, one group. Column 0 holds 1 … 8, so its word reads
    0x87654321, negative as int32; its zero point is 8, the others' 0 (stored 0xF less one)."""
    qweight = torch.tensor([[0x87654321 - 2**32, *[0] * 7]], dtype=torch.int32)
    others = 0xFFFFFFF0 if form == "gptq" else 0
    qzeros = torch.tensor([[(others | stored) - (2**32 if others else 0)]], dtype=torch.int32)
    parts = {"qweight": qweight, "qzeros": qzeros, "scales": torch.full((1, 8), 0.5).half()}
    read = layout(form, None).read(parts, (8, 8))
    assert read.order is None
    assert isinstance(read.weight, PackedInt4)
    assert read.weight.group_size == 8
    expected = torch.zeros(8, 8)
    expected[0] = torch.tensor([-3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0])
    assert torch.equal(dequantized_weight(read.weight), expected)


def test_a_layer_of_eight_bits_by_hand() -> None:
    """in_features 4, out_features 4, one group. Column 0 holds 130, 0, 255, 128 and column 3 its
    lowest byte alone; zero points 128, 1, 0, 255 are stored less one."""
    qweight = torch.tensor([[word(130, 0, 255, 128), 0, 0, word(7, 0, 0, 0)]], dtype=torch.int32)
    qzeros = torch.tensor([[word(127, 0, 255, 254)]], dtype=torch.int32)
    parts = {"qweight": qweight, "qzeros": qzeros, "scales": torch.full((1, 4), 0.5).half()}
    read = layout("gptq", None, bits=8).read(parts, (4, 4))
    assert isinstance(read.weight, GroupedInt8)
    expected = [
        [1, -64, 63.5, 0],
        [-0.5] * 4,
        [0.0] * 4,
        [-124, -127.5, -127.5, -127.5],
    ]
    assert dequantized_weight(read.weight).tolist() == expected


@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize(("k", "group"), [(64, 32), (96, 64), (40, 40), (72, 32), (576, 128)])
def test_weights_are_what_the_format_says(
    k: int, group: int, act_order: bool, bits: int, form: str
) -> None:
    """W[k, n] = scales[g_idx[k], n] · (q - z), for inputs in any order and a shorter last group,
    and what is read is written as it was."""
    n, groups = 16, -(-k // group)
    q, zeros = torch.randint(0, 2**bits, (k, n)), torch.randint(1, 2**bits, (groups, n))
    scales = (torch.rand(groups, n) / 2**bits).half()
    g_idx = torch.arange(k, dtype=torch.int32) // group
    if act_order:
        g_idx = g_idx[torch.randperm(k)]
    weight = scales.float()[g_idx.long()] * (q - zeros[g_idx.long()])
    parts = {**written(q, zeros, int(form == "gptq"), bits), "scales": scales, "g_idx": g_idx}
    found = layout(form, group, bits, act_order)
    assert {name: found.parts(n, k)[name].shapes[0] for name in parts} == {
        name: tuple(part.shape) for name, part in parts.items()
    }
    read = found.read(parts, (n, k))
    assert (read.order is None) == bool((g_idx.diff() >= 0).all())
    assert isinstance(read.weight, PackedInt4 if bits == 4 else GroupedInt8)
    x = torch.randn(3, k)
    model = QuantizedModel(found.scheme, {}, {"a": read})
    linear = PackedSource(model, torch.float32, CPU).linear(["a"])
    torch.testing.assert_close(linear(x), x @ weight, rtol=1e-5, atol=1e-4)
    again = found.write(read)
    assert again.keys() == parts.keys()
    for name, part in parts.items():
        assert again[name].dtype == part.dtype
        assert torch.equal(again[name], part), name


@pytest.mark.parametrize("g_idx", [torch.arange(16) > 2, 2 * (torch.arange(16) // 8)])
def test_inputs_that_are_in_no_groups_are_refused(g_idx: Tensor) -> None:
    q, zeros = torch.zeros(16, 8).long(), torch.zeros(2, 8).long()
    parts = {**written(q, zeros, 0, 4), "scales": torch.ones(2, 8).half(), "g_idx": g_idx.int()}
    with pytest.raises(KernelError, match="does not put inputs in 2 groups of 8"):
        layout("gptq", 8).read(parts, (8, 16))


def test_what_readers_would_get_wrong_is_not_written() -> None:
    q, zeros = torch.zeros(16, 8).long(), torch.zeros(2, 8).long()
    scales = torch.tensor([[1.0], [2.0]]).expand(2, 8).half()
    parts = {**written(q, zeros, 0, 4), "scales": scales}
    read = layout("gptq_v2", 8).read(parts, (8, 16))
    with pytest.raises(KernelError, match="zero point of 0"):
        layout("gptq", 8).write(read)
    symmetric = GptqLayout(Scheme("gptq", 4, 8), "gptq_v2")
    with pytest.raises(KernelError, match="readers of symmetric weights leave out"):
        symmetric.write(read)
    with pytest.raises(KernelError, match="groups of 8 are not parts of groups of 12"):
        layout("gptq_v2", 12).write(read)
    assert isinstance(read.weight, PackedInt4)
    fine = PackedInt4(read.weight.nibbles, torch.full((8, 2), 0.1), read.weight.zeros, 8)
    with pytest.raises(KernelError, match="not float16"):
        layout("gptq_v2", 8).write(QuantizedMap(fine))
    with pytest.raises(KernelError, match="do not fill 32-bit words"):
        layout("gptq", 8).parts(12, 16)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
def test_zero_points_that_contradict_symmetry_are_refused(form: str, bits: int) -> None:
    """Stored as the middle, of v1 less one; not as the other version would, nor as any other."""
    middle = 2 ** (bits - 1)
    parts = {"scales": torch.ones(2, 8).half()}
    q, zeros = torch.zeros(16, 8).long(), torch.full((2, 8), middle)
    symmetric = GptqLayout(Scheme("gptq", bits, 8), form)
    less = int(form == "gptq")
    assert symmetric.read({**parts, **written(q, zeros, less, bits)}, (8, 16)) is not None
    other = {**parts, **written(q, zeros, 1 - less, bits)}
    name = "gptq_v2" if less else "gptq"
    message = f"sym: true has zero points of {middle} only; .* were checkpoint_format {name!r}"
    with pytest.raises(KernelError, match=message):
        symmetric.read(other, (8, 16))
    zeros[1, 5] = 3
    with pytest.raises(KernelError, match=r"its qzeros hold 3, and sym: true .* only$"):
        symmetric.read({**parts, **written(q, zeros, less, bits)}, (8, 16))
    # Where nothing is said of symmetry they are what they are.
    data = {"quant_method": "gptq", "bits": bits, "group_size": 8, "checkpoint_format": form}
    silent = parse(Fields(data, "quantization_config"), "lm_head").layout_of("model.layers.0.a")
    assert silent is not None
    assert silent.read({**parts, **written(q, zeros, less, bits)}, (8, 16)) is not None


def config(**changes: object) -> Fields:
    data = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}
    return Fields(data | changes, "quantization_config")


def test_which_modules_are_quantised() -> None:
    q, head = "model.layers.1.self_attn.q_proj", "lm_head"
    plain = parse(config(), head)
    assert plain.layout_of(q) == GptqLayout(Scheme("gptq", 4, 32))
    assert plain.layout_of(head) is None
    assert parse(config(lm_head=True), head).layout_of(head) is not None
    only = parse(config(modules_in_block_to_quantize=[["mlp.up_proj"], ["mlp.down_proj"]]), head)
    assert only.layout_of(q) is None
    assert only.layout_of("model.layers.0.mlp.down_proj") is not None
    rules = {
        r"-:model\.layers\.0\..*": {},
        r"+:.*q_proj": {"bits": 8, "group_size": -1},
        r".*v_proj": {"desc_act": True},
    }
    ruled = parse(config(dynamic=rules), head)
    assert ruled.layout_of("model.layers.0.self_attn.q_proj") is None
    assert ruled.layout_of(q) == GptqLayout(Scheme("gptq", 8, None))
    v = ruled.layout_of("model.layers.1.self_attn.v_proj")
    assert v == GptqLayout(Scheme("gptq", 4, 32, act_order=True))
    assert ruled.layout_of("model.layers.1.mlp.up_proj") == plain.layout_of(q)


@pytest.mark.parametrize("pattern", [".*", "+:.*", "+:lm_head"])
def test_a_rule_quantises_no_output_projection_that_is_said_not_to_be(pattern: str) -> None:
    rules = {pattern: {"bits": 8}}
    for said in ({}, {"lm_head": False}):
        assert parse(config(dynamic=rules, **said), "lm_head").layout_of("lm_head") is None
    quantised = parse(config(dynamic=rules, lm_head=True), "lm_head")
    assert quantised.layout_of("lm_head") == GptqLayout(Scheme("gptq", 8, 32))
    without = parse(config(dynamic={"-:lm_head": {}}, lm_head=True), "lm_head")
    assert without.layout_of("lm_head") is None


def test_what_is_written_of_a_scheme_is_read_of_it() -> None:
    kept = ["model.layers.0.mlp.up_proj"]
    scheme = Scheme("gptq", 8, None, symmetric=False)
    data = quantization_config(scheme, "gptq_v2", kept, reordered=False, writer="llmbench:1")
    found = parse(Fields(data, "quantization_config"), "lm_head")
    assert found.layout_of(kept[0]) is None
    assert found.layout_of("model.layers.1.mlp.up_proj") == GptqLayout(scheme, "gptq_v2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 3}, "quantization_config.bits: 3 is not supported; expected one of 4, 8"),
        ({"bits": "4"}, "bits: '4' is not supported"),
        ({"checkpoint_format": "marlin"}, "checkpoint_format: 'marlin' is not supported"),
        ({"group_size": 0}, "group_size: 0 is neither"),
        (
            {"group_size": None},
            "group_size: missing; expected a number above 0",
        ),
        ({"sym": 1}, "sym: 1 is not true or false"),
        ({"dynamic": {"+:(": {}}}, "is no pattern"),
        ({"dynamic": {".*": {"bits": 2}}}, r"dynamic\..\*.bits: 2 is not supported"),
        ({"pack_dtype": "int8"}, "pack_dtype: 'int8' is not supported"),
    ],
)
def test_settings_that_are_not_known_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse(config(**change), "lm_head")
