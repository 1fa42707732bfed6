"""A run against the mock server, from settings to a stored result with reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError, MissingError
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.harness.client.calibration import CalibratedLoad, ClientCalibration, Load
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.names import name_within_run
from llmbench.harness.client.prepare import (
    ServerRunConfig,
    prepare_server_run,
    tokenizer_of_server,
)
from llmbench.harness.client.run import measure_server
from llmbench.harness.client.servers import Server
from llmbench.harness.comparison.compare import compare
from llmbench.harness.config import LoadConfig
from llmbench.harness.errors import InvalidRun
from llmbench.harness.machine.environment import cpu
from llmbench.harness.mock.script import Plain, Script
from llmbench.harness.mock.server import MockServer
from llmbench.harness.rendering import comparison_reports, run_reports
from llmbench.harness.run.watch import Silent
from llmbench.harness.storage.store import load_run, write_run

from ..mock.in_thread import in_thread
from ..observed import serve_in_turn
from ..stored import stored_run
from .measured import LOAD, QUICK, check, measured


def test_a_run_is_whole_and_says_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever runs this may have calibrated the client.
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    found = measured(slo_s={"ttft": 10.0}, price_per_hour=0.5)
    result = found.result
    failed = {one.id for one in result.validity.failures if one.fatal}
    # A busy machine may make the client late, and then it says so.
    assert failed <= {"client_overload", "sender_lag"}
    assert not check(found, "throttling").fatal
    # The server is here, so whoever else computed is judged.
    (others,) = [one for one in result.validity.checks if one.id in ("machine", "server_unseen")]
    assert not others.fatal
    assert "not judged" not in others.told
    assert result.counters.requests_ok == 24
    assert (result.kv, result.memory, result.counters.steps, result.attribution) == (None,) * 4
    assert result.target is not None
    assert result.target.counted == {"usage": 24}
    assert result.metrics["icl"].stats["count"] == result.metrics["itl"].stats["count"] > 0
    assert "queue" not in result.metrics
    # Its machine is not ours, but what it costs may be known.
    assert set(result.absent) == {"mfu", "mbu", "energy_per_token"}
    tokens_per_s = result.metrics["total_throughput"].stats["window"]
    cost = result.metrics["cost_per_million_tokens"].stats["total"]
    assert cost == pytest.approx(0.5 * 1e6 / (3600 * tokens_per_s))
    directory = write_run(tmp_path / "run", result, found.requests, found.steps, {})
    again = load_run(directory)
    assert again.result == result
    assert again.requests["chunk_tokens"].map(sum).sum() == result.counters.output_tokens
    reports = run_reports("run", again.result, again.requests, again.steps)
    assert all("completions" in text for text in reports.values())
    assert "KV waste" not in reports["report.md"]
    assert "calibrate-client" in reports["report.md"]


@pytest.mark.parametrize("processes", [1, 2])
def test_no_two_requests_of_two_runs_have_one_name(processes: int) -> None:
    """vLLM takes it for its engine's own, where a name that is still in use, of a run that Ctrl-C
    ended or of another client, is refused or mixed up with the other."""
    server = MockServer(QUICK.script)
    with in_thread(server) as url:
        client = ClientConfig(parse_url(url), processes=processes)
        config = ServerRunConfig(client, LOAD, tokenizer="bundled", warmup_requests=2)
        prepared = prepare_server_run(config, Silent())
        for _ in range(2):
            assert measure_server(prepared, Silent()).result.counters.requests_ok == 24
    names = [one.request_id for one in server.log]
    assert len(set(names)) == len(names) == 2 * (24 + 2)
    assert {name_within_run(name) for name in names} == {f"r{at}" for at in range(24)}


def test_texts_of_a_workload_are_sent_in_the_models_tokens(tmp_path: Path) -> None:
    questions = ("How long is a piece of string?", "Why?")
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"q": one}) + "\n" for one in questions))
    (tmp_path / "w.yaml").write_text(
        "num_requests: 2\n"
        "arrivals: {kind: at_once}\n"
        "lengths: {kind: sampled, input: {kind: fixed, tokens: 9}, "
        "output: {kind: fixed, tokens: 5}}\n"
        "prompts: {kind: jsonl, path: q.jsonl, prompt_field: q}\n"
    )
    load = LoadConfig(workload=str(tmp_path / "w.yaml"))
    found = measured(load=load, endpoint="completions")
    tokenizer = load_tokenizer(resolve_model("bundled", print).directory)
    lengths = {len(tokenizer.encode(one, add_special_tokens=False)) for one in questions}
    assert set(found.requests["input_tokens"]) <= lengths | {9}
    assert found.result.counters.requests_ok == 2
    assert found.result.counters.output_tokens == 10


def test_a_tokenizer_that_is_not_known_is_called_one() -> None:
    with in_thread(MockServer(QUICK.script)) as url:
        config = ServerRunConfig(ClientConfig(parse_url(url)), LOAD, tokenizer="nosuchtok")
        with pytest.raises(ConfigError, match=r"^tokenizer: 'nosuchtok' is not allowed"):
            prepare_server_run(config, Silent())


def test_a_model_without_a_known_tokenizer_asks_for_one() -> None:
    """Known wrong here: "tokenizer: \"of 'my-odd-model', not known here\" is not allowed"."""
    with pytest.raises(MissingError, match=r"^tokenizer: missing; expected --tokenizer NAME"):
        tokenizer_of_server(None, "my-odd-model", Server("any"), Silent())


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_two_processes_send_one_plan(endpoint: str) -> None:
    found = measured(processes=2, endpoint=endpoint, prompt_as="text")
    assert found.result.counters.requests_ok == 24
    assert found.result.client is not None
    assert found.result.client.processes == 2
    assert list(found.requests["index"]) == list(range(24))


def test_errors_are_counted_by_label_and_make_the_run_invalid() -> None:
    def scripted(body: Mapping[str, Any], name: str) -> Script:
        if name in ("r3", "r5", "r7"):
            return Script(plain=Plain(429 if name != "r7" else 500, body=b"<b>busy</b>"))
        return QUICK.script(body, name)

    found = measured(scripted)
    assert found.result.target is not None
    assert found.result.target.errors == {"http_429": 2, "http_500": 1}
    assert not found.result.validity.valid
    assert found.result.status == "complete"
    report = run_reports("run", found.result, found.requests, found.steps)["report.html"]
    assert "http 429" in report
    assert "<b>busy" not in report


def test_too_many_errors_leave_a_partial_result() -> None:
    def scripted(body: Mapping[str, Any], name: str) -> Script:
        return QUICK.script(body, name) if name in ("r0", "r1") else Script(plain=Plain(500))

    found = measured(scripted, max_errors=2, load=LoadConfig(num_requests=20, max_concurrency=1))
    assert found.result.status == "partial"
    assert "2 failed requests" in found.failure
    assert found.result.counters.requests_ok == 2
    assert found.result.counters.requests_unfinished == 16


def test_a_server_that_fails_the_warm_up_is_refused_in_a_line() -> None:
    with pytest.raises(InvalidRun, match="every request of the warm-up: http_500"):
        measured(lambda _body, _name: Script(plain=Plain(500, body=b"no\nmemory")))


def test_who_lets_errors_pass_lets_those_of_the_warm_up() -> None:
    asked = iter(range(1000))

    def script(body: Mapping[str, Any], name: str) -> Script:
        return Script(plain=Plain(500)) if next(asked) < 2 else QUICK.script(body, name)

    with pytest.raises(InvalidRun, match="--max-errors 0 goes on"):
        measured(script, warmup_requests=2)
    asked = iter(range(1000))
    found = measured(script, warmup_requests=2, max_errors=0)
    assert found.result.counters.requests_ok == 24


def test_a_warm_prefix_cache_is_seen() -> None:
    def scripted(body: Mapping[str, Any], name: str) -> Script:
        found = QUICK.script(body, name)
        return Script(found.chunks, cached_tokens=16)

    warm = measured(scripted)
    assert not check(warm, "prefix_cache").ok
    assert not warm.result.validity.valid
    assert warm.result.counters.prefix_hit_tokens == 16 * 24
    assert check(measured(scripted, prefix_cache="server"), "prefix_cache").ok


def test_a_chat_finds_the_template_that_the_server_puts_around_it() -> None:
    """The plan's prompts have none; the warm-up left it in the cache, for all to find."""

    def scripted(body: Mapping[str, Any], name: str) -> Script:
        (message,) = body["messages"]
        planned = len(message["content"].split()) + 200
        return Script(QUICK.script(body, name).chunks, prompt_tokens=planned, cached_tokens=32)

    found = measured(scripted, endpoint="chat", prompt_as="text")
    assert check(found, "prefix_cache").ok
    assert check(found, "prefix_cache").detail.startswith(f"the server found {32 * 24} of ")


def test_nothing_known_of_the_prefix_cache_is_a_caution() -> None:
    assert not check(measured(), "prefix_cache").ok
    assert check(measured(owned_by="vllm"), "prefix_cache").ok


def test_prompts_of_another_length_make_the_run_invalid() -> None:
    def scripted(body: Mapping[str, Any], name: str) -> Script:
        return Script(QUICK.script(body, name).chunks, prompt_tokens=len(body["prompt"]) + 1)

    found = check(measured(scripted), "input_counts")
    assert not found.ok
    assert found.fatal
    assert found.value == 24


def test_a_chats_prompts_may_be_longer_and_the_run_says_so() -> None:
    found = check(measured(endpoint="chat", prompt_as="text"), "input_counts")
    assert not found.ok
    assert not found.fatal


def test_replies_of_another_length_make_the_run_invalid() -> None:
    def scripted(body: Mapping[str, Any], name: str) -> Script:
        return QUICK.script({**body, "max_tokens": 3}, name)

    found = check(measured(scripted), "token_counts")
    assert not found.ok
    assert "ignored" in found.detail


def test_a_model_may_end_its_replies_where_that_was_asked_for(tmp_path: Path) -> None:
    """As OpenAI, Ollama and whatever has no `ignore_eos`."""
    early = replace(QUICK, ends_early=0.5).script
    exact = check(measured(early, owned_by="somebody"), "token_counts")
    assert (exact.ok, exact.fatal) == (False, True)

    found = measured(early, owned_by="somebody", output_lengths="at-most")
    lengths = check(found, "token_counts")
    assert lengths.ok
    target, counters = found.result.target, found.result.counters
    assert target is not None
    assert target.output_lengths == "at-most"
    assert 0 < target.ended_early < 24
    assert target.asked_output_tokens is not None
    assert counters.output_tokens < target.asked_output_tokens
    assert set(found.requests["finish_reason"]) == {"stop", "length"}
    assert f"{target.ended_early} of 24 served replies ended early" in lengths.detail
    failed = {one.id for one in found.result.validity.failures if one.fatal}
    assert failed <= {"client_overload", "sender_lag"}

    directory = write_run(tmp_path / "run", found.result, found.requests, found.steps, {})
    again = load_run(directory)
    assert again.result == found.result
    assert again.result.config["output_lengths"] == "at-most"
    assert list(again.requests["finish_reason"]) == list(found.requests["finish_reason"])
    asked = f"{counters.output_tokens} of {target.asked_output_tokens} tokens asked for"
    for text in run_reports("run", again.result, again.requests, again.steps).values():
        assert "replies may end early" in text
        assert f"its replies could end early and came to {asked}" in text
        assert "they compare with those of a run whose replies were as long" in text


def test_a_server_that_ignores_the_end_of_text_is_exact_and_nothing_is_said_of_lengths() -> None:
    found = measured(replace(QUICK, ends_early=0.5).script)
    assert check(found, "token_counts").ok
    target = found.result.target
    assert target is not None
    assert (target.output_lengths, target.ended_early) == ("exact", 0)
    assert target.asked_output_tokens == found.result.counters.output_tokens
    texts = run_reports("run", found.result, found.requests, found.steps)
    assert not any("end early" in text for text in texts.values())


def test_the_clients_error_is_looked_up_by_load(tmp_path: Path) -> None:
    def point(chunks_per_s: float, error_s: float) -> CalibratedLoad:
        error = {"p50_s": error_s / 2, "p99_s": error_s, "bias_s": error_s / 4}
        load = Load(1000.0, chunks_per_s, 10_000.0)
        return CalibratedLoad(load, error, error, error, 0.001, 0.1, valid=True)

    points = (point(1e6, 0.5), point(1e-3, 0.25))
    path = tmp_path / "calibration.json"
    for cpu_name, expected in ((str(cpu()["model"]), 0.5), ("another", None)):
        calibration = ClientCalibration(cpu_name, "2026-01-01T00:00:00+00:00", 1, points)
        path.write_text(json.dumps(calibration.as_json()))
        found = measured(calibration=path)
        error = found.result.client_error
        assert (error.ttft.p99_s if error else None) == expected
        text = run_reports("run", found.result, found.requests, found.steps)["report.md"]
        assert ("± 500 ms" in text) == (expected is not None)
        assert ("Client ±" in text) == (expected is not None)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="client_calibration"):
        measured(calibration=path)


def test_a_server_compares_with_an_engine_of_ours(tmp_path: Path) -> None:
    found = measured()
    directory = write_run(tmp_path / "server", found.result, found.requests, found.steps, {})
    runs = [stored_run(*serve_in_turn(40)), load_run(directory)]
    comparison = compare(runs, allow_invalid=True)
    assert any("over HTTP" in warning for warning in comparison.warnings)
    assert {row.id for row in comparison.rows} >= {"ttft", "tpot", "itl", "output_throughput"}
    assert not {row.id for row in comparison.rows} & {"kv", "memory"}
    assert "counters" not in {row.id for row in comparison.rows if row.stat == "steps"}
    for text in comparison_reports(runs, comparison).values():
        assert "completions" in text


def test_the_server_that_is_measured_is_the_one_that_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy of the environment would answer for it: the client takes none."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert measured().result.counters.requests_ok == 24
