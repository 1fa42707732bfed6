"""`llmbench engines`: every engine, readable on a terminal of ordinary width."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import PRESETS, Preset
from llmbench.harness.cli import app
from llmbench.harness.cli.doctor import _engines
from typer.testing import CliRunner

from ...engines.plugins import brought

NO_NAME: Any = object()


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


def test_of_two_engines_only_what_differs_is_printed() -> None:
    lines = [line.split() for line in listing("vllm-v1", "trtllm").splitlines()]
    assert lines[:-2] == [
        ["setting", "vllm-v1", "trtllm"],
        ["admission", "optimistic", "reserve"],
        ["block_size", "16", "32"],
        ["mixing", "unified", "inflight"],
        ["chunking", "-", "fcfs"],
        ["chunk_unit", "-", "32"],
        ["whole_prompt_fits", "on", "-"],
        ["watermark", "0", "-"],
        ["preemption", "recompute", "-"],
        ["prefix_cache", "on", "off"],
    ]


def test_any_number_of_engines_is_compared_and_a_plug_ins_too() -> None:
    output = listing("orca", "mine", "static")
    assert row(output, "arena").split() == ["arena", "buddy", "-", "first-fit"]
    assert row(output, "preemption").split() == ["preemption", "-", "swap", "-"]
    assert "kv_dtype" not in output
    # One engine by two names.
    assert listing("paged", "vllm-v0") == "no setting differs\n"


def test_json_leaves_out_who_does_not_read_a_setting() -> None:
    differing = json.loads(listing("vllm-v1", "trtllm", "--json"))
    assert differing["block_size"] == {"vllm-v1": 16, "trtllm": 32}
    assert differing["chunk_unit"] == {"trtllm": 32}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["paged"], "engines: 'paged' is not allowed; expected two or more to compare"),
        (["paged", "trtlm"], "did you mean 'trtllm'"),
    ],
)
def test_what_cannot_be_compared_is_said(named: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        CliRunner().invoke(app.app, ["engines", *named], catch_exceptions=False)


def test_json_holds_every_preset() -> None:
    names = [preset["name"] for preset in json.loads(listing("--json"))]
    assert names == [*(preset.name for preset in PRESETS), "mine"]


@pytest.mark.parametrize(
    "broken", [ImportError("nonesuch"), Preset("odd", NO_NAME, "reserve", "paged", "a test")]
)
def test_a_plugin_that_brings_no_engine_is_said_beside_those_that_do(
    broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command ended with a traceback, and the exit code of a bug of ours."""
    with brought(monkeypatch, {"odd": broken}):
        result = CliRunner().invoke(app.app, ["engines", "--json"])
        finding = _engines()
    assert result.exit_code == 0
    assert [preset["name"] for preset in json.loads(result.stdout)] == [one.name for one in PRESETS]
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert (finding.level, finding.detail.partition("; ")[2]) == (
        "note",
        line.removeprefix("error: "),
    )
