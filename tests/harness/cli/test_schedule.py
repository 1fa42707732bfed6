"""`llmbench schedule`, in this process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli import schedule as command
from llmbench.harness.schedule import Scenario, from_json, schedule, shipped


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["schedule", *words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_table_says_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preemption") == 0
    lines = capsys.readouterr().out.splitlines()
    second = next(line for line in lines if line.strip().startswith("1 "))
    assert " ".join(second.split()) == "1 a preempt b b 3 held, 2 free a 0-1,4"
    b = next(line for line in lines if line.startswith("b "))
    assert b.split() == ["b", "0", "0", "7", "5", "1", "8", "0", "finished"]
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in "".join(lines)


def test_engines_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preemption", "--compare", "vllm-v0, trtllm") == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if "; at most" in line] == [
        "vllm-v0",
        "trtllm",
    ]
    assert "b     P x . . . R D D\n" in out
    assert "b     . . . . . P D D D\n" in out


def test_short_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preemption", "--view", "lines", "--engine", "trtllm") == 0
    assert "   5  P b0+8\n" in capsys.readouterr().out


def test_settings_change_the_engine_the_limits_and_the_pool(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--set", "admission=reserve", "--set", "max_num_seqs=3", "--set", "pool_tokens=32")
    assert run("preemption", *words, "--json") == 0
    found = from_json(capsys.readouterr().out)
    assert (found.settings["admission"], found.settings["max_num_seqs"]) == ("reserve", 3)
    assert found.kv_total == 8


def test_json_can_be_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prefix-sharing", "--json") == 0
    found = from_json(capsys.readouterr().out)
    assert schedule(found.scenario) == found
    assert run("prefix-sharing", "--compare", "vllm-v0,vllm-v1", "--json") == 0
    both = json.loads(capsys.readouterr().out)
    assert [one["engine"] for one in both] == ["vllm-v0", "vllm-v1"]
    # Two later requests find the 8 shared tokens: two blocks of four.
    assert [sum(r["cached_tokens"] for r in one["requests"]) for one in both] == [0, 16]


def test_the_example_and_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--example") == 0
    example = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(example.encode())))
    assert run("-", "--view", "lines") == 0
    assert "D a | preempt b" in capsys.readouterr().out


def test_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--schema") == 0
    assert json.loads(capsys.readouterr().out) == Scenario.model_json_schema()
    assert run("--schema", "--json") == 0
    schema = json.loads(capsys.readouterr().out)
    assert run("preemption", "--json") == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)


def test_refused_requests_are_part_of_the_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "small.json"
    rows = [{"id": "big", "prompt_tokens": 40, "output_tokens": 1}]
    path.write_text(json.dumps({"block_size": 4, "pool_blocks": 8, "requests": rows}))
    assert run(str(path)) == 0
    out = capsys.readouterr().out
    assert "big refused, NEVER: the KV cache can never hold its 40 tokens" in out
    assert "they need 10 blocks, the pool has 8" in out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "scenario: missing; expected a file, - for standard input, or one of parallel-"),
        (("preemptoin",), "did you mean 'preemption'?"),
        (("preemption", "--engine", "trtlm"), "did you mean 'trtllm'?"),
        (("preemption", "--compare", "paged,"), "engine: '' is not allowed"),
        (("--example", "--json"), "not with --example, whose comments no JSON has"),
        (("preemption", "--compare", "paged", "--engine", "orca"), "nothing beside --compare"),
        (("preemption", "--set", "reserve"), "set: 'reserve' is not allowed; expected NAME=VALUE"),
        (("preemption", "--set", "admision=reserve"), "did you mean 'admission'?"),
        (("preemption", "--set", "prefix_cache=maybe"), "engine.prefix_cache: 'maybe'"),
        (("preemption", "--view", "tabel"), "view: 'tabel' is not allowed; expected one of"),
        (("preemption", "--set", "pool_tokens=3"), "NEVER with 3 tokens"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert problem in line


def test_the_help_names_what_ships() -> None:
    hint = command.schedule.__annotations__["scenario"]
    assert all(name in str(hint) for name in shipped())


def test_no_model_is_anywhere_near() -> None:
    """Bytes are equal in another process, with another hash seed and no torch imported."""
    code = (
        "import sys\n"
        "from llmbench.harness.cli import main\n"
        "try: main(['schedule', 'parallel-samples', '--json'])\n"
        "finally: assert not {'torch', 'pandas', 'numpy', 'transformers'} & set(sys.modules)\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] != b""
