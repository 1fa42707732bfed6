"""What is known of an engine by what it ran."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines import assemble
from llmbench.engines.assemble import build_engine, emulated_by, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.resolve import resolve
from torch import Tensor


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


def test_a_cache_that_does_not_fit_beside_other_programs_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its memory is taken at once, and who takes more than there is may be ended without a word."""
    files = resolve_model("bundled")
    engine = resolve(engine_config("paged", device="cpu", kv_memory_bytes=2**24), files)
    loaded = load_model(files, engine)
    monkeypatch.setattr(assemble, "free_memory_bytes", lambda: 2**24 - 1)
    with pytest.raises(
        ConfigError, match=r"kv_memory: '16777216 bytes' .* at most the 16777215 that"
    ):
        build_engine(loaded, engine, WallClock())
    monkeypatch.setattr(assemble, "free_memory_bytes", lambda: 2**24)
    build_engine(loaded, engine, WallClock())


@pytest.mark.parametrize(("preemption", "taken"), [("swap", True), ("auto", False)])
def test_room_for_what_is_swapped_out_is_taken_where_all_that_is_preempted_goes_there(
    preemption: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` swaps samples of one prompt alone; most loads have none."""
    files = resolve_model("bundled")
    asked = engine_config(
        "paged", device="cpu", kv_memory_bytes=2**24, preemption=preemption, swap_memory_bytes=2**25
    )
    engine = resolve(asked, files)
    loaded = load_model(files, engine)
    hosts: list[bool] = []
    allocate = assemble.allocate_host

    def allocate_and_watch(*arguments: Any, populated: bool) -> list[Tensor]:
        hosts.append(populated)
        return allocate(*arguments, populated=populated)

    monkeypatch.setattr(assemble, "allocate_host", allocate_and_watch)
    build_engine(loaded, engine, WallClock())
    assert hosts == [taken]
    monkeypatch.setattr(assemble, "free_memory_bytes", lambda: 2**24 + 2**25 - 1)
    if not taken:
        build_engine(loaded, engine, WallClock())
        return
    with pytest.raises(ConfigError, match=r"the 16777215 that are free beside 33554432 of --swap"):
        build_engine(loaded, engine, WallClock())
