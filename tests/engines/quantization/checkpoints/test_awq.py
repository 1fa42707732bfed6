from __future__ import annotations

from pathlib import Path

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.checkpoints.awq import AwqLayout, parse, quantization_config
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.quantized import QuantizedMap, QuantizedModel
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.int4 import pack_int4
from llmbench.kernels.registry import KernelError

from .directories import change_config, plain_directory, rounded


def layout(group_size: int | None) -> AwqLayout:
    return AwqLayout(Scheme("awq", 4, group_size, symmetric=False))


def test_a_layer_by_hand() -> None:
    """Columns 0-7 hold their own number, 8-15 likewise; low nibble first they are stored as
    0 2 4 6 1 3 5 7, so the words read 0x75316420 and 0xFDB9ECA8 (negative as int32)."""
    q = torch.arange(16)[:, None].expand(16, 2)  # out_features 16, in_features 2
    zeros = torch.tensor([[1], *[[0]] * 14, [15]])
    packed = pack_int4(q, torch.full((16, 1), 0.5), zeros, 2)
    tensors = layout(2).write(QuantizedMap(packed))
    assert tensors["qweight"].dtype == tensors["qzeros"].dtype == torch.int32
    words = [0x75316420, 0xFDB9ECA8 - 2**32]
    assert tensors["qweight"].tolist() == [words, words]  # [in_features, out_features / 8]
    # Column 0 is nibble 0 of word 0; column 15 nibble 7, the sign, of word 1.
    assert tensors["qzeros"].tolist() == [[1, 0xF0000000 - 2**32]]
    assert tensors["scales"].dtype == torch.float16
    assert tensors["scales"].tolist() == [[0.5] * 16]


def test_sizes_that_the_format_cannot_have() -> None:
    with pytest.raises(KernelError, match="groups of 48 do not divide 64"):
        layout(48).parts(16, 64)
    with pytest.raises(KernelError, match="multiple of 8"):
        layout(32).parts(12, 64)
    packed = pack_int4(torch.zeros(12, 2), torch.ones(12, 1), torch.zeros(12, 1), 2)
    with pytest.raises(KernelError, match="multiple of 8"):
        layout(2).write(QuantizedMap(packed))
    with pytest.raises(KernelError, match="reordered"):
        layout(2).write(QuantizedMap(packed, torch.tensor([1, 0])))


def config(**changes: object) -> Fields:
    data = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True}
    return Fields({**data, "version": "gemm", **changes}, "quantization_config")


def test_which_modules_are_quantised() -> None:
    """`any(key in name for key in modules_to_not_convert)`, as AutoAWQ, vLLM and SGLang have it."""
    found = parse(config(modules_to_not_convert=["lm_head", "self_attn", "mlp.gate"]), "lm_head")
    assert found.layout_of("model.layers.0.mlp.up_proj") == layout(32)
    assert found.layout_of("model.layers.0.mlp.gate_proj") is None
    assert found.layout_of("model.layers.0.self_attn.q_proj") is None
    assert found.layout_of("lm_head") is None
    assert parse(config(group_size=-1), "lm_head").layout_of(
        "model.layers.0.mlp.up_proj"
    ) == layout(None)


def test_gptqmodels_rules_and_output_projection_are_read_of_awq_too() -> None:
    rules = {r"-:.*\.1\..*": {}, r"+:.*up_proj": {"group_size": 64}, r".*down_proj": {"sym": True}}
    found = parse(config(dynamic=rules, lm_head=True), "lm_head")
    assert found.layout_of("model.layers.1.mlp.up_proj") is None
    assert found.layout_of("model.layers.0.mlp.up_proj") == layout(64)
    assert found.layout_of("model.layers.0.mlp.down_proj") == layout(32)
    assert found.layout_of("lm_head") == layout(32)
    left = parse(config(lm_head=True, modules_to_not_convert=["lm_head"]), "lm_head")
    assert left.layout_of("lm_head") is None
    every = parse(config(dynamic={"+:.*": {"group_size": 64}}), "lm_head")
    assert every.layout_of("lm_head") is None


def test_a_directory_that_a_rule_left_a_map_of_is_read(tmp_path: Path) -> None:
    scheme, gate = Scheme("awq", 4, 32, symmetric=False), "model.layers.0.mlp.gate_proj"
    model = rounded(scheme)
    maps = {name: one for name, one in model.maps.items() if name != gate}
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    write_checkpoint(QuantizedModel(scheme, model.dense, maps), source, out, "awq")
    rules = {r"-:.*layers\.0\.mlp\.gate_proj": {}}
    change_config(out, modules_to_not_convert=None, dynamic=rules, lm_head=False)
    assert read_checkpoint(out)[1].maps.keys() == maps.keys()


def test_what_is_written_of_a_scheme_is_read_of_it() -> None:
    data = quantization_config(
        Scheme("awq", 4, 64, symmetric=False), ["model.layers.0.mlp.up_proj"]
    )
    found = parse(Fields(data, "quantization_config"), "lm_head")
    assert found.layout_of("model.layers.0.mlp.up_proj") is None
    assert found.layout_of("model.layers.1.mlp.up_proj") == layout(64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 3}, "bits: 3 is not supported; expected one of 4"),
        ({"version": "gemv"}, "version: 'gemv' is not supported"),
        ({"group_size": None}, "group_size: missing; expected a number above 0"),
        ({"group_size": True}, "group_size: True is not a whole number"),
        ({"zero_point": "yes"}, "zero_point: 'yes' is not true or false"),
        ({"modules_to_not_convert": "lm_head"}, "is not a list of names"),
        ({"lm_head": "yes"}, "lm_head: 'yes' is not true or false"),
        ({"dynamic": {"+:(": {}}}, "is no pattern"),
        ({"dynamic": {".*": {"bits": 8}}}, r"dynamic\..\*.bits: 8 is not supported"),
    ],
)
def test_settings_that_are_not_known_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse(config(**change), "lm_head")
