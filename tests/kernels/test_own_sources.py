"""Which code a kernel of one's own had."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.kernels import registry
from llmbench.kernels.choices import resolve_choices
from llmbench.kernels.own_sources import own_sources

KERNEL = """
from llmbench.kernels.plugin import implements

@implements("silu_mul", backend="edited", priority=-500)
def silu_mul(gate_up):
    return gate_up[:, ::2]
"""


def test_a_file_that_was_edited_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs before and after were said to have the same settings."""
    ours = {one.name: one for one in registry.implementations("silu_mul")}  # which it loads
    monkeypatch.setitem(registry._registered, "silu_mul", ours)
    file = tmp_path / "gates.py"
    file.write_text(KERNEL)
    forced = resolve_choices([f"silu_mul={file}", "rope=torch"])
    first = own_sources(forced)
    assert list(first) == ["silu_mul"]
    assert own_sources(forced) == first
    (tmp_path / "notes.txt").write_text("of no kernel")
    assert own_sources(forced) == first
    (tmp_path / "gates.cu").write_text("// compiled by it")
    second = own_sources(forced)
    file.write_text(KERNEL + "# faster\n")
    assert len({*first.values(), *second.values(), *own_sources(forced).values()}) == 3
