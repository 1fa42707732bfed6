"""What is known of an engine by what it ran."""

from __future__ import annotations

import pytest
from llmbench.engines.assemble import emulated_by


@pytest.mark.parametrize(
    ("op", "first", "ran", "emulated"),
    [
        ("fp8_linear", "triton", {}, False),  # a GPU with products of e4m3
        ("fp8_linear", "triton", {"triton": 3, "triton-scaled-mm": 2}, False),
        ("fp8_linear", "triton-widened", {}, True),  # an older one
        ("fp8_linear", "triton", {"torch-widened": 3}, True),  # weights that it does not take
        ("fp8_linear", "torch-widened", {"torch-widened": 9}, True),
        ("w4a8_linear", "native-avx2", {"native-avx2": 2}, False),
        ("w4a8_linear", "native-avx2", {"torch": 2}, True),
        ("w8a8_linear", "torch-cpu", {}, False),
        ("w8a8_linear", "reference", {}, True),
    ],
)
def test_what_was_emulated_is_known_by_what_ran(
    op: str, first: str, ran: dict[str, int], emulated: bool
) -> None:
    found = emulated_by({op: first, "linear": "torch-cpu"}, {op: ran})
    assert set(found) == ({op} if emulated else set())
