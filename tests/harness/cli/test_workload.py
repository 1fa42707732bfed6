"""`llmbench workload`, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from llmbench.harness.cli import main
from llmbench.harness.cli.workload_tables import bars, print_prompts
from llmbench.workloads.api import PlannedRequest

MINE = """
num_requests: 12
arrivals: {kind: constant, rate_per_s: 2}
lengths:
  kind: sampled
  input: {kind: fixed, tokens: 20}
  output: {kind: fixed, tokens: 5}
prompts: {kind: random, shared_prefix_tokens: 17}
sessions: {turns: {kind: fixed, turns: 3}, think_s: {kind: fixed, seconds: 4}}
"""


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["workload", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_the_list_names_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert "azure-code" in capsys.readouterr().out
    assert run("list", "--json") == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)]
    assert names == ["quick", "fixed", "lognormal", "azure-conv", "azure-code"]


def test_the_rate_that_is_asked_for_stands_beside_what_few_requests_come_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "poisson, 9.08/s" of a file that says 10."""
    path = tmp_path / "poisson.yaml"
    lengths = "{kind: sampled, input: {kind: fixed, tokens: 8}, output: {kind: fixed, tokens: 8}}"
    arrivals = "{kind: poisson, rate_per_s: 10}"
    path.write_text(f"num_requests: 60\narrivals: {arrivals}\nlengths: {lengths}\n")
    assert run("show", path) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "arrivals poisson, 10/s asked for, of which these 60 requests come at " in out


def test_a_first_look(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four sessions, half a second apart, of 20, 45 and 70 tokens: 540 in, 60 out."""
    assert run("show", mine, "--prompts", 2) == 0
    out = capsys.readouterr().out
    assert "arrivals     constant, 2 sessions/s, CV of gaps 0" in out
    assert "sessions     4: 3 turns each, 3 at most, 4 s of thought between" in out
    assert "request 1: 45 tokens in, 5 out, after 0" in out
    lengths = next(line for line in out.splitlines() if line.startswith("input"))
    assert lengths.split()[-1] == "540"
    # In blocks of 16: a session's second turn finds one, its third two, its first one that another
    # session left; 3 x 16 for the first session and 4 x 16 for each of the others, of 540.
    assert "shared       44.4 % of prompt tokens are in whole blocks of 16 that" in out


def test_only_a_prompt_that_was_cut_ends_in_dots(capsys: pytest.CaptureFixture[str]) -> None:
    """Known wrong here: "Write a haiku about the sea. …" of a whole prompt."""
    several = [
        PlannedRequest(index, None, tuple(range(tokens)), output_tokens=1)
        for index, tokens in enumerate((3, 61))
    ]
    print_prompts(several, lambda ids, **_: " ".join(map(str, ids)))
    whole, cut = (line for line in capsys.readouterr().out.splitlines() if line[:3] == "  0")
    assert whole == "  0 1 2"
    assert cut.endswith(" …")


@pytest.mark.parametrize(("fit", "does"), [("error", "refuses them"), ("clip", "cuts them short")])
def test_requests_that_the_model_does_not_take_are_counted(
    fit: str, does: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "big.yaml"
    lengths = {
        "kind": "sampled",
        "input": {"kind": "uniform", "min_tokens": 18_000, "max_tokens": 18_100},
        "output": {"kind": "fixed", "tokens": 5},
    }
    data = {"num_requests": 9, "fit": fit, "arrivals": {"kind": "at_once"}, "lengths": lengths}
    path.write_text(yaml.safe_dump({**data, "prompts": {"kind": "random"}}))
    assert run("show", path) == 0
    out = capsys.readouterr().out
    assert "note 9 of 9 requests are longer than the bundled model takes (" in out
    assert f"a run with it {does}; " in out
    assert run("show", path, "--num-requests", 1) == 0
    assert "note 1 of 1 request is longer than" in capsys.readouterr().out
    assert run("show", path, "--max-input-len", 20) == 0
    assert "longer than" not in capsys.readouterr().out
    assert run("show", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["requests_longer_than_model"] == 9
    assert 0 < told["model_length_tokens"] < 18_000


def test_what_is_said_as_json(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", mine, "--json", "--num-requests", 6) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["sessions"], found["seed"]) == (6, 2, 0)
    assert found["input"]["total"] == 270
    assert len(found["fingerprint"]) == 64


def test_a_trace_may_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:00:00.0,5,6\n2023-11-16 18:00:02.0,7,8\n"
    )
    assert run("show", path) == 0
    assert "replay, 0.500/s" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_plot_is_drawn(mine: Path, tmp_path: Path, ending: str) -> None:
    plot = tmp_path / f"p.{ending}"
    assert run("show", mine, "--plot", plot) == 0
    start = plot.read_bytes()[:60]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in start
    if ending == "svg":
        assert "sessions a second" in plot.read_text()


def test_a_fit_is_a_file_that_can_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two lengths half and half, one request a second: everything comes back as it was."""
    rows = [
        {"t_due_s": i, "input_tokens": 100 + 50 * (i % 2), "output_tokens": 7} for i in range(400)
    ]
    trace = tmp_path / "t.jsonl"
    trace.write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "w.yaml"
    assert run("fit", trace, "--out", out) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "requests a second" in told.err
    assert run("show", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["output"]["mean"]) == (400, 7.0)
    assert (found["input"]["min"], found["input"]["max"]) == (100, 150)
    assert run("fit", trace) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(out.read_text())
    assert run("fit", trace, "--json") == 0
    assert json.loads(capsys.readouterr().out)["workload"]["num_requests"] == 400


@pytest.mark.parametrize("name", ["t.jsonl", "w", "w.yaml.gz"])
def test_a_fit_is_not_written_where_it_would_be_taken_for_a_trace(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: the trace itself was written over."""
    trace = tmp_path / "t.jsonl"
    text = '{"t_due_s": 0, "input_tokens": 3, "output_tokens": 4}\n' * 30
    trace.write_text(text)
    assert run("fit", trace, "--out", tmp_path / name) == 2
    assert "expected a name ending in .yaml or .yml" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["t.jsonl"]
    assert trace.read_text() == text


def test_the_schema_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(MINE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**yaml.safe_load(MINE), "sessions": {"turns": 3}}, schema)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "azure-cod"), "(did you mean 'azure-code'?)"),
        (("show", "quick", "--plot", "x.html"), "expected a file ending in .png, .svg, .pdf"),
        (("show", "quick", "--prompts", -1), "prompts: -1 is not allowed; expected 0 or more"),
        (("show", "quick", "--num-requests", 0), "num_requests: 0 is not allowed"),
        (("fit", "none.csv"), "cannot be read: no such file or directory"),
        (("fit", "none.csv", "--category", "x"), "trace: 'none.csv' does not exist; expected Se"),
        (("fit", "none", "--request-rate", "3"), "trace: 'none' does not exist; expected ServeGen"),
        (("fit", ".", "--category", "x"), "category: 'x' is not allowed; expected ServeGen's data"),
        (("fit", "none.csv", "--out", "/dev/null/w.yaml"), "out: '/dev/null/w.yaml' cannot be w"),
    ],
)
def test_what_a_user_does_wrong_is_one_line(
    words: tuple[object, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arrivals", "message"),
    [
        ("{kind: poisson, rate_per_s: 1.0e+308}", "arrivals.rate_per_s: 1e+308 is not allowed"),
        ("{kind: poisson, rate_per_s: 1.0e-308}", "arrivals.rate_per_s: 1e-308 is not allowed"),
        (
            "{kind: exponential_ramp, start_rate_per_s: 1, end_rate_per_s: 1e9, duration_s: 1e9}",
            "arrivals: 'exponential_ramp' bring some 4.825e+16 requests; expected at most 10,",
        ),
    ],
)
def test_arrivals_beyond_all_bounds_are_one_line(
    arrivals: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.yaml"
    length = "{kind: fixed, tokens: 3}"
    count = "" if "ramp" in arrivals else "num_requests: 200\n"
    lengths = f"{{kind: sampled, input: {length}, output: {length}}}"
    path.write_text(f"{count}arrivals: {arrivals}\nlengths: {lengths}\n")
    assert run("show", path) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_rare_bursts_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """200 requests in 10^9 s and more: as many windows of a second would be gigabytes."""
    path = tmp_path / "w.yaml"
    path.write_text(
        "num_requests: 200\n"
        "arrivals: {kind: on_off, on_rate_per_s: 1e-7, mean_on_s: 2, mean_off_s: 5}\n"
        "lengths: {kind: sampled, input: {kind: fixed, tokens: 3}, "
        "output: {kind: fixed, tokens: 3}}\n"
    )
    assert run("show", path) == 0
    assert "on off" in capsys.readouterr().out


def test_bars() -> None:
    assert bars([0, 1, 4, 8]) == " ▁▄█"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, llmbench.harness.cli.workload\n"
        "print([m for m in ('numpy', 'pydantic', 'yaml', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
