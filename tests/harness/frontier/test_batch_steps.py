"""What is timed, in which order, and how it goes on; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.cost.floor import Roof
from llmbench.harness.bench.cases import CONTEXT_TOKENS, Case
from llmbench.harness.config import RunConfig
from llmbench.harness.frontier import batch_steps as tool
from llmbench.harness.frontier.batch_steps import (
    SCHEMA_VERSION,
    STEPS_FILE,
    batch_sizes,
    measure_steps,
    steps_settings,
    turns,
)
from llmbench.harness.run.drive import Progress
from llmbench.harness.storage.store import StoreError

LONGEST = Case("decode", 1, CONTEXT_TOKENS).longest_tokens


class Stages:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def stage(self, text: str) -> None:
        self.seen.append(text)

    def progress(self, progress: Progress) -> None: ...


@pytest.mark.parametrize(
    ("most", "pool", "expected"),
    [
        (256, 10**6, (1, 2, 4, 8, 16, 32, 64)),
        (16, 10**6, (1, 2, 4, 8, 16)),
        (12, 10**6, (1, 2, 4, 8, 12)),
        (1, 10**6, (1,)),
        (256, 0, (1,)),
    ],
)
def test_batch_sizes_are_those_that_fit(most: int, pool: int, expected: tuple[int, ...]) -> None:
    assert batch_sizes(most, pool, 16) == expected


@pytest.mark.parametrize("block_size", [1, 16, 32])
def test_the_largest_batch_has_room_in_the_pool(block_size: int) -> None:
    for pool in (500, 3_000, 9_999):
        largest = batch_sizes(256, pool, block_size)[-1]
        blocks = -(-LONGEST // block_size)
        assert largest == 1 or largest * blocks * block_size <= pool


def test_methods_are_measured_there_and_back() -> None:
    assert turns(("a", "b", "c")) == ("a", "b", "c", "c", "b", "a")


@pytest.fixture
def by_method() -> dict[str, RunConfig]:
    return {
        quant: RunConfig("bundled", engine_config("paged", quant=quant, device="cpu"))
        for quant in ("none", "int8")
    }


def test_it_goes_on_where_it_stopped(
    by_method: dict[str, RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "llmbench.harness.machine.rates.find_rates", lambda *_: Roof(10e9, 100e9, "a test")
    )
    monkeypatch.setattr(tool, "PROMPT_TOKENS", 24)
    settings = steps_settings(by_method, "a revision", (1, 3))
    measure = tool.bench_by_turns
    asked: list[list[str]] = []

    def interrupted(model: str, engines, cases, **rest):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append([engine.quant for engine in engines])
        return measure(model, engines, cases, **rest)

    monkeypatch.setattr(tool, "bench_by_turns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_steps(by_method, settings, tmp_path, Stages())
    # Alone, and then beside it.
    assert asked == [["none"], ["none", "int8"]]
    monkeypatch.setattr(tool, "bench_by_turns", measure)
    stages = Stages()
    whole = measure_steps(by_method, settings, tmp_path, stages)
    assert [one.method for one in whole.passes] == ["none", "int8", "int8", "none"]
    assert stages.seen[0] == "steps, pass 3 of 4: int8"
    for one in whole.passes:
        assert [(step.phase, step.size) for step in one.steps] == [
            *[("decode", 1), ("decode", 3)],
            ("prefill", 24),
        ]
        assert all(0 < step.best_s <= step.median_s for step in one.steps)
        assert (one.bytes_per_s, one.rates_source) == (10e9, "a test")
    assert whole.passes[1].steps[0].bytes_moved < whole.passes[0].steps[0].bytes_moved
    assert {step.speed_up for step in whole.passes[0].steps} == {1.0}
    assert all(step.speed_up > 0 for step in whole.passes[1].steps)

    monkeypatch.setattr(tool, "bench_by_turns", None)
    assert measure_steps(by_method, settings, tmp_path, Stages()) == whole
    assert [path.name for path in tmp_path.iterdir()] == [STEPS_FILE]

    monkeypatch.setattr(tool, "bench_by_turns", measure)
    stages = Stages()
    fewer = {"none": by_method["none"]}
    alone = measure_steps(fewer, steps_settings(fewer, "a revision", (1,)), tmp_path, stages)
    assert [len(one.steps) for one in alone.passes] == [2, 2]
    assert "measuring anew" in stages.seen[0]


WITHOUT_PASSES = json.dumps({"settings": {}, "schema_version": SCHEMA_VERSION})
OTHER_VERSION = json.dumps({"settings": {}, "schema_version": SCHEMA_VERSION + 1, "passes": []})


@pytest.mark.parametrize("text", ["{", "[]", "{}", WITHOUT_PASSES, OTHER_VERSION])
def test_passes_that_cannot_be_read_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / STEPS_FILE).write_text(text)
    with pytest.raises(StoreError) as error:
        tool.load_steps(tmp_path, {})
    assert STEPS_FILE in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_settings_are_what_decides_the_numbers(by_method: dict[str, RunConfig]) -> None:
    found = steps_settings(by_method, "a revision", (1, 2))
    assert json.loads(json.dumps(found)) == found
    assert found["methods"]["int8"]["engine"]["quant"] == "int8"
