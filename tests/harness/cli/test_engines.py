"""`llmbench engines`: every engine, readable on a terminal of ordinary width."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from llmbench.engines.presets import PRESETS, Preset
from llmbench.harness.cli import app
from typer.testing import CliRunner

from ...engines.plugins import brought


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Preset]:
    """An engine that another package brought."""
    monkeypatch.setenv("COLUMNS", "100")
    preset = Preset(
        "mine",
        batching="mixed",
        admission="optimistic",
        kv="paged",
        block_size=8,
        mixing="sarathi",
        settings={"prefix_cache": True, "preemption": "swap"},
        stands_for="a test of what others bring",
    )
    with brought(monkeypatch, {"mine": preset}):
        yield preset


def listing(*arguments: str) -> str:
    result = CliRunner().invoke(app.app, ["engines", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def row(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(f"{name} "))


def test_every_choice_of_an_engine_stands_on_its_line() -> None:
    output = listing()
    assert max(len(line) for line in output.splitlines()) <= 100
    wanted = {
        "paged": ["= vllm-v0", "separate", "optimistic", "paged, 16", "groups swapped"],
        "inflight": ["mixed, inflight", "reserve", "contiguous, max"],
        "trtllm": ["mixed, inflight", "reserve", "paged, 32"],
        "vllm-v1": ["mixed, unified", "optimistic", "paged, 16", "prefix cache"],
        "sarathi": ["mixed, sarathi", "steps of 512"],
        "orca": ["contiguous, max", "buddy arena, whole prompts"],
        "static": ["static", "reserve", "contiguous, max"],
        "mine": ["mixed, sarathi", "paged, 8", "prefix cache, all swapped"],
    }
    for name, choices in wanted.items():
        line = row(output, name)
        assert [choice for choice in choices if choice not in line] == []


def test_no_name_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert "…" not in listing()


def test_what_each_stands_for_is_said_in_full() -> None:
    output = " ".join(listing().split())
    assert "a test of what others bring" in output
    for preset in PRESETS:
        assert " ".join(preset.stands_for.split()) in output


def test_json_holds_every_preset() -> None:
    names = [preset["name"] for preset in json.loads(listing("--json"))]
    assert names == [*(preset.name for preset in PRESETS), "mine"]
