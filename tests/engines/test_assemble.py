"""What is known of an engine by what it ran."""

from __future__ import annotations

import pytest
from llmbench.engines.assemble import emulated_by


@pytest.mark.parametrize(
    ("first", "ran", "emulated"),
    [
        ("triton", {}, False),  # a GPU with products of e4m3
        ("triton", {"triton": 3, "triton-scaled-mm": 2}, False),
        ("triton-widened", {}, True),  # an older one
        ("triton", {"torch-widened": 3}, True),  # weights that the first does not take
        ("torch-widened", {"torch-widened": 9}, True),
    ],
)
def test_what_was_emulated_is_known_by_what_ran(
    first: str, ran: dict[str, int], emulated: bool
) -> None:
    found = emulated_by({"fp8_linear": first, "linear": "torch-cpu"}, {"fp8_linear": ran})
    assert set(found) == ({"fp8_linear"} if emulated else set())
