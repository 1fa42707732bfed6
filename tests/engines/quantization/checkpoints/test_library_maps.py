"""Maps that other libraries wrote (library_maps/), read and written again, bit for bit, and rounded
alike where the rule is the same one. None of the libraries is needed for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from llmbench.engines.quantization.checkpoints import (
    auto_round,
    awq,
    compressed_tensors,
    fine_grained_fp8,
    gptq,
    modelopt,
)
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.fp8_scaled import Fp8Layout
from llmbench.engines.quantization.checkpoints.layout import Format, Writable
from llmbench.engines.quantization.quantized import PackedWeight, QuantizedMap
from llmbench.engines.quantization.rounding import ROUND
from llmbench.kernels.fp8 import quantize_fp8
from torch import Tensor

from .directories import in_order
from .library_maps.stored import LIBRARIES, LibraryMap, load, same_bits

PARSE: dict[str, Callable[[Fields], Format]] = {
    "auto-round": auto_round.parse,
    "awq": lambda settings: awq.parse(settings, "lm_head"),
    "compressed-tensors": compressed_tensors.parse,
    "fp8": fine_grained_fp8.parse,
    "gptq": lambda settings: gptq.parse(settings, "lm_head"),
    "modelopt": modelopt.parse,
}
SPELT = {
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.int32: "I32",
    torch.int64: "I64",
}
# Scales that are read into float32, and written so.
NARROW = (torch.bfloat16, torch.float16, torch.float8_e8m0fnu)
MAPS = {f"{library}: {name}": one for library in LIBRARIES for name, one in load(library).items()}
EACH = pytest.mark.parametrize("name", MAPS)
READ = pytest.mark.parametrize("name", [n for n, one in MAPS.items() if one.weight is not None])
ROUNDED = pytest.mark.parametrize("name", [n for n, one in MAPS.items() if one.source is not None])


def layout_of(one: LibraryMap) -> Writable:
    settings = Fields(one.settings, "quantization_config")
    found = PARSE[str(settings.get("quant_method"))](settings).layout_of(one.module)
    assert found is not None
    return found  # pyright: ignore[reportReturnType]


def parts_of(one: LibraryMap) -> dict[str, Tensor]:
    """Under the names that the layout knows them by."""
    known = layout_of(one).parts(*one.size)
    called = {part.also: name for name, part in known.items() if part.also}
    return {called.get(name, name): tensor for name, tensor in one.parts.items()}


def read(one: LibraryMap) -> QuantizedMap:
    return layout_of(one).read(parts_of(one), one.size)


@EACH
def test_its_tensors_are_those_that_are_looked_for(name: str) -> None:
    one = MAPS[name]
    expected, parts = layout_of(one).parts(*one.size), parts_of(one)
    assert parts.keys() <= expected.keys()
    for part, allowed in expected.items():
        if part not in parts:
            assert allowed.optional, part
            continue
        assert tuple(parts[part].shape) in allowed.shapes, part
        assert SPELT[parts[part].dtype] in allowed.dtypes, part


@READ
def test_it_is_read_as_the_library_reads_it(name: str) -> None:
    """Products of a code and a scale are exact in float32, and rounded once to the dtype that the
    library computes in."""
    one = MAPS[name]
    assert one.weight is not None
    found = in_order(read(one)).to(one.weight.dtype)
    torch.testing.assert_close(found, one.weight, rtol=one.rtol, atol=0)


@EACH
def test_it_is_written_as_the_library_wrote_it(name: str) -> None:
    one = MAPS[name]
    check_alike(layout_of(one).write(read(one)), one)


@ROUNDED
def test_it_is_rounded_as_the_library_rounded_it(name: str) -> None:
    one = MAPS[name]
    assert one.source is not None
    layout = layout_of(one)
    check_alike(layout.write(QuantizedMap(rounded(one.source, layout, parts_of(one)))), one)


def rounded(source: Tensor, layout: Writable, parts: Mapping[str, Tensor]) -> PackedWeight:
    if not isinstance(layout, Fp8Layout):
        return ROUND[layout.scheme.method](source, layout.scheme)
    n, k = source.shape
    rows, columns = {"tensor": (n, k), "channel": (1, k), "block": layout.block}[layout.strategy]
    given = parts["input_scale"].reshape(()) if layout.static else None
    return replace(quantize_fp8(source, rows, columns), input_scale=given)


def check_alike(ours: dict[str, Tensor], one: LibraryMap) -> None:
    """But for what a library says twice, the axis of a number, and how wide scales are stored that
    may be of any width."""
    parts = parts_of(one)
    # In order, which auto-round's own packing leaves out; and none, of symmetric weights.
    assert ours.keys() ^ parts.keys() <= {"g_idx", "weight_zero_point"}
    for part in ours.keys() & parts.keys():
        found, expected = ours[part], parts[part]
        if part in ("weight_scale", "weight_scale_inv") and expected.dtype in NARROW:
            expected = expected.float()
            found = found.float()
        if expected.numel() == 1:
            found, expected = found.reshape(1), expected.reshape(1)
        assert same_bits(found, expected), part
