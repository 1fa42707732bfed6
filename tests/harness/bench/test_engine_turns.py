"""Whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.resolve import resolve
from llmbench.harness.bench.cases import Case, Serving, Sized
from llmbench.harness.bench.engine_turns import Side, time_by_turns


@pytest.mark.parametrize("case", [Case("decode", 2, 8), Case("prefill", 1, 8)])
def test_nobody_always_comes_second(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A, B, B, A: after a disturbance of the machine each step is a little faster than the last."""
    files = resolve_model("bundled")
    asked = engine_config(
        "paged", device="cpu", dtype="float32", max_model_len=256, kv_memory_bytes=2**22
    )
    sides = [Side(files, resolve(asked, files)) for _ in range(2)]
    for side in sides:
        side.load(lambda _: None)
    begun: list[int] = []
    stepped: list[int] = []
    begin, step = Serving.__init__, Serving.step

    def begin_and_note(serving: Serving, core: Sized, *others: Any) -> None:
        begun.append(id(core.engine))
        begin(serving, core, *others)

    def step_and_note(serving: Serving) -> None:
        stepped.append(id(serving._core))
        step(serving)

    monkeypatch.setattr(Serving, "__init__", begin_and_note)
    monkeypatch.setattr(Serving, "step", step_and_note)
    time_by_turns(case, sides, 0)
    turns = stepped if case.phase == "decode" else begun
    rounds = len(turns) // 4
    assert rounds >= 2
    assert "".join("AB"[turns[0] != one] for one in turns[: 4 * rounds]) == "ABBA" * rounds
