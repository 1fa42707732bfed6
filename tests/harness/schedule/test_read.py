"""What is wrong with a scenario is one line: the field, the value, what is allowed."""

from __future__ import annotations

import doctest
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from llmbench.engines.config import EngineConfig
from llmbench.engines.errors import ConfigError
from llmbench.harness import schedule as package
from llmbench.harness.schedule import (
    EngineChoice,
    Scenario,
    load_scenario,
    parse_scenario,
    schedule,
    shipped,
    to_json,
    with_engine,
    with_settings,
)
from llmbench.harness.schedule.example import EXAMPLE
from llmbench.harness.schedule.read import parse_json, parse_text
from llmbench.harness.schedule.result import json_schema

A: dict[str, Any] = {"id": "a", "prompt_tokens": 8, "output_tokens": 4}
GOOD: dict[str, Any] = {"block_size": 4, "pool_blocks": 8, "requests": [A]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"pool_block": 8}, "scenario: 'pool_block' is not allowed; .*mean 'pool_blocks'"),
        ({"pool_blocks": None}, "pool_blocks: missing; .* or as pool_tokens"),
        ({"pool_tokens": 9}, "pool_tokens: 9 .* nothing beside pool_blocks"),
        ({"pool_blocks": 0}, "pool_blocks: 0 .* greater than or equal to 1"),
        ({"pool_blocks": 2.5}, "pool_blocks: 2.5 .* a valid integer"),
        ({"engine": {"admision": "x"}}, "engine: 'admision' .*mean 'admission'"),
        ({"engine": {"admission": "resrve"}}, "engine.admission: 'resrve' .*mean 'reserve'"),
        ({"engine": {"block_size": 4}}, "engine.block_size: 4 .* at the top of the scenario"),
        ({"engine": {"max_num_seqs": 4}}, "engine.max_num_seqs: 4 .* limits.max_num_seqs"),
        ({"engine": 4}, "engine: 4 .* an object"),
        ({"limits": {"max_seqs": 4}}, "limits: 'max_seqs' .*mean 'max_num_seqs'"),
        ({"step_s": 0}, "step_s: 0 .* greater than 0"),
        ({"requests": []}, "requests: 'none' .* at least one"),
        ({"requests": {"a": 1}}, "requests: .* a valid tuple"),
        ({"requests": [A, A]}, r"requests\[0\].id: 'a' .* used once"),
        ({"requests": [A | {"promt_tokens": 1}]}, r"requests\[0\]: .*mean 'prompt_tokens'"),
        ({"requests": [{"id": "a"}]}, r"requests\[0\].prompt_tokens: None .* it is missing"),
        ({"requests": [A | {"prompt_tokens": "8"}]}, r"\[0\].prompt_tokens: '8' .* integer"),
        ({"requests": [A | {"n": True}]}, r"requests\[0\].n: True .* integer"),
        ({"requests": [A | {"id": "a b"}]}, r"requests\[0\].id: 'a b' .* letters, digits"),
        ({"requests": [A | {"id": "a#1"}]}, r"requests\[0\].id: 'a#1' .* letters, digits"),
        (
            {"requests": [A, A | {"id": "b", "shared_prefix_tokens": 9}]},
            r"requests\[1\].shared_prefix_tokens: 9 .* at most prompt_tokens \(8\)",
        ),
        (
            {"requests": [A | {"arrival_step": 3, "abort_step": 3}]},
            r"requests\[0\].abort_step: 3 .* more than arrival_step \(3\)",
        ),
    ],
)
def test_a_bad_field_is_named_by_its_path(change: dict[str, Any], problem: str) -> None:
    assert parse_scenario(GOOD)
    with pytest.raises(ConfigError, match=problem) as refused:
        parse_scenario(GOOD | change)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [[], None, "paged", 3])
def test_a_scenario_is_an_object(data: object) -> None:
    with pytest.raises(ConfigError, match=r"scenario: .* an object"):
        parse_scenario(data)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"pool_blocks": 3,\n "requests": [}', "line 2, column 15: Expecting value"),
        (b'{\n// a "comment"\n"pool_blocks": }', "line 3, column 16: Expecting value"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b"", "line 1, column 1"),
    ],
)
def test_what_is_no_json_is_named_with_its_line(text: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        parse_text(text, "mine.json")
    assert "mine.json" in str(refused.value)


def test_comments_may_stand_anywhere_but_in_a_string() -> None:
    found = parse_json('{"a": "http://x", // one\n "b": "\\"// two" // three\n}', "x")
    assert found == {"a": "http://x", "b": '"// two'}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"engine": "vllm-v9"}, "engine: 'vllm-v9' .*did you mean"),
        (
            {"engine": {"preset": "trtllm", "preemption": "swap"}},
            "preemption: 'swap' .* reserve admission, which never preempts",
        ),
        (
            {"engine": "orca", "pool_blocks": 2},
            r"pool_blocks: 2 .* max_model_len \(12 tokens, .* up to 16\); NEVER with 8 tokens",
        ),
        ({"pool_blocks": None, "pool_tokens": 3}, "pool_tokens: 3 .* block of 4 .* NEVER with 3"),
        (
            {"limits": {"max_num_seqs": 9, "max_num_batched_tokens": 8}},
            r"max_num_batched_tokens: 8 .* at least max_num_seqs \(9\)",
        ),
    ],
)
def test_an_engine_that_cannot_work_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        schedule(parse_scenario(GOOD | change))


def test_left_out_limits_follow_the_scenario() -> None:
    settings = schedule(parse_scenario(GOOD | {"limits": {"max_num_batched_tokens": 6}})).settings
    assert settings["max_num_seqs"] == 6
    assert settings["max_model_len"] == 12
    assert schedule(parse_scenario(GOOD)).settings["max_num_batched_tokens"] == 2048


def test_another_engine_takes_the_changes_of_the_old_one_along() -> None:
    given = parse_scenario(GOOD | {"engine": {"preset": "paged", "preemption": "swap"}})
    assert with_engine(given, "trtllm").engine == EngineChoice(preset="trtllm")


def test_a_setting_is_changed_by_its_bare_name() -> None:
    given = parse_scenario(GOOD)
    changed = with_settings(
        given, {"admission": "reserve", "max_num_seqs": 2, "pool_tokens": 40, "step_s": 2}
    )
    assert changed.engine.admission == "reserve"
    assert changed.limits.max_num_seqs == 2
    assert (changed.pool_tokens, changed.pool_blocks) == (40, None)
    assert changed.requests == given.requests
    with pytest.raises(ConfigError, match=r"setting: 'admision' .*mean 'admission'"):
        with_settings(given, {"admision": "reserve"})
    with pytest.raises(ConfigError, match="setting: 'requests'"):
        with_settings(given, {"requests": []})


def test_engine_settings_are_those_of_an_engine() -> None:
    known = {field.name for field in fields(EngineConfig)}
    assert set(EngineChoice.model_fields) - {"preset"} <= known


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_ships_runs_and_fits_the_schemas(name: str) -> None:
    text = shipped()[name].read_text()
    jsonschema.validate(json.loads(text), Scenario.model_json_schema())
    found = schedule(load_scenario(name))
    assert all(one.ending == "finished" for one in found.requests)
    jsonschema.validate(json.loads(to_json(found)), json_schema())


def test_the_schema_refuses_what_the_reader_refuses() -> None:
    schema = Scenario.model_json_schema()
    jsonschema.validate(GOOD | {"engine": {"preset": "paged", "watermark": 0.5}}, schema)
    jsonschema.validate(GOOD | {"engine": "trtllm"}, schema)
    for change in ({"pool_block": 1}, {"engine": {"admission": "x"}}, {"requests": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(GOOD | change, schema)


def test_the_example_is_a_scenario_that_runs() -> None:
    found = schedule(parse_text(EXAMPLE.encode(), "example"))
    assert {one.ending for one in found.requests} == {"finished", "aborted"}


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(load_scenario("preemption").requests) == 2
    (tmp_path / "preemption").write_text(json.dumps(GOOD))
    assert len(load_scenario("preemption").requests) == 1


def test_the_documented_example_does_what_it_says() -> None:
    failed, tried = doctest.testmod(package)
    assert (failed, tried > 4) == (0, True)
