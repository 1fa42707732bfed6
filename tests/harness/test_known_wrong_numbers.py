"""Ten wrong numbers that benchmarks have shipped, and the test that would catch each here."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.prepare import ServerRunConfig, prepare_server_run
from llmbench.harness.client.run import measure_server
from llmbench.harness.config import LoadConfig
from llmbench.harness.mock.rule import Rule
from llmbench.harness.mock.script import Chunk, Script
from llmbench.harness.mock.server import MockServer, Scripted
from llmbench.harness.result import Check, Result
from llmbench.harness.run.planning import plan_with_warmup, workload_of
from llmbench.harness.run.watch import Silent

from .mock.in_thread import in_thread

TESTS = Path(__file__).parents[1]
HERE = "harness/test_known_wrong_numbers.py"

CAUGHT_BY: dict[str, tuple[str, ...]] = {
    "a chunk counted as a token": (
        f"{HERE}::test_chunks_of_several_tokens_are_not_tokens",
        "harness/client/test_drive.py::test_every_token_of_every_chunk_is_counted",
        "harness/run/test_validity.py::test_a_chunk_counted_as_a_token_is_caught",
    ),
    "a BOS re-tokenised into each chunk": (f"{HERE}::test_text_is_never_tokenised_again",),
    "client queueing left out of latency": (
        f"{HERE}::test_waiting_at_the_client_is_latency",
        "harness/metrics/test_latencies.py::test_a_client_that_falls_behind_does_not_hide_it",
        "harness/client/test_drive.py::test_latency_counts_from_when_a_request_was_due",
    ),
    "the client as the bottleneck": (
        f"{HERE}::test_a_client_that_is_too_slow_is_invalid",
        "harness/run/test_validity.py::test_a_slow_client_is_fatal",
    ),
    "random prompts of the wrong length": (
        f"{HERE}::test_prompts_have_exactly_the_planned_length",
        "harness/client/test_run.py::test_prompts_of_another_length_make_the_run_invalid",
    ),
    "same seed and a warm prefix cache": (
        f"{HERE}::test_the_warm_up_warms_nothing_that_is_measured",
        "harness/client/test_run.py::test_a_warm_prefix_cache_is_seen",
    ),
    "constant arrivals that were exponential": (
        "workloads/test_arrivals.py::test_constant_is_constant",
    ),
    "Poisson arrivals rescaled to end exactly at N/rate": (
        "workloads/test_arrivals.py::test_poisson_end_is_not_rescaled",
    ),
    "a 3 s run reported as a 5 % regression": (
        "harness/gate/test_runs.py::test_a_three_second_run_reports_no_regression",
    ),
    "a one-token reply given TPOT 0": (
        "harness/metrics/test_latencies.py::test_a_single_token_has_no_pace",
        "harness/metrics/test_latencies.py::test_a_reply_in_one_chunk_has_no_pace",
    ),
}


@pytest.mark.parametrize("wrong", CAUGHT_BY)
def test_each_wrong_number_has_a_test(wrong: str) -> None:
    for name in CAUGHT_BY[wrong]:
        file, _, function = name.partition("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        names = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
        assert function in names, name


def served(scripted: Scripted, load: LoadConfig, **client: Any) -> tuple[Result, MockServer]:
    """A run against a server that does what `scripted` says."""
    mock = MockServer(scripted, keep_bodies=True)
    with in_thread(mock) as url:
        config = ServerRunConfig(
            ClientConfig(parse_url(url), **client), load, tokenizer="bundled", warmup_requests=0
        )
        found = measure_server(prepare_server_run(config, Silent()), Silent())
    return found.result, mock


def check(result: Result, name: str) -> Check:
    return next(one for one in result.validity.checks if one.id == name)


def test_chunks_of_several_tokens_are_not_tokens() -> None:
    """Eight tokens in two chunks: counting chunks would give a quarter of the throughput, and four
    times the TPOT."""

    def scripted(body: Mapping[str, Any], _name: str) -> Script:
        half = body["max_tokens"] // 2
        return Script((Chunk(0.01, half), Chunk(0.07, body["max_tokens"] - half)))

    load = LoadConfig("fixed", num_requests=6, max_output_len=8)
    result, mock = served(scripted, load)
    assert result.counters.output_tokens == 8 * 6 == sum(one.tokens for one in mock.log)
    assert result.metrics["icl"].stats["count"] == 6
    assert result.metrics["itl"].stats["count"] == 7 * 6
    # From the first chunk to the last is one gap of chunks, and seven of tokens.
    gap_s = result.metrics["icl"].stats["mean"]
    assert result.metrics["tpot"].stats["mean"] == pytest.approx(gap_s / 7)
    assert result.metrics["itl"].stats["mean"] == pytest.approx(gap_s / 7)


def test_text_is_never_tokenised_again() -> None:
    """What comes back is nonsense that any tokenizer cuts into dozens of pieces: two tokens, as the
    server says. And the client that counts cannot tokenise: it loads no such library."""
    noise = "¿" * 40
    script = Script((Chunk(0.005, 1, noise), Chunk(0.005, 1, noise)))
    load = LoadConfig("fixed", num_requests=3, max_output_len=2)
    result, _ = served(lambda _body, _name: script, load)
    assert result.counters.output_tokens == 6
    assert check(result, "token_counts").ok
    code = "import llmbench.harness.client.processes, sys; print('tokenizers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


def test_waiting_at_the_client_is_latency() -> None:
    """Twelve requests due at once, one slot, 20 ms each: the last waits for eleven others."""
    script = Script((Chunk(0.02, 1), Chunk(0.001, 1)))
    load = LoadConfig(
        "fixed", num_requests=12, max_output_len=2, request_rate=float("inf"), max_concurrency=1
    )
    result, _ = served(lambda _body, _name: script, load)
    waited_s = result.metrics["ttft"].stats["max"] - result.metrics["ttft_send"].stats["max"]
    assert waited_s > 10 * 0.02


def test_a_client_that_is_too_slow_is_invalid() -> None:
    """Something in the client's process holds its loop for 60 ms, again and again, as a long prompt
    to encode would: the numbers are the client's, and the run says so."""

    class Slow(Silent):
        def progress(self, progress: object) -> None:  # noqa: ARG002
            time.sleep(0.06)

    rule = Rule(0.002, 0.004)
    with in_thread(MockServer(rule.script)) as url:
        load = LoadConfig("fixed", num_requests=40, max_output_len=20, max_concurrency=4)
        config = ServerRunConfig(
            ClientConfig(parse_url(url)), load, tokenizer="bundled", warmup_requests=0
        )
        result = measure_server(prepare_server_run(config, Silent()), Slow()).result
    overload = check(result, "client_overload")
    assert not overload.ok
    assert not result.validity.valid
    assert "it was kept waiting" in overload.detail


def test_prompts_have_exactly_the_planned_length() -> None:
    """The ids themselves are sent, and what arrives is counted by the server."""
    load = LoadConfig(
        "lognormal",
        num_requests=30,
        request_rate=float("inf"),
        max_input_len=100,
        max_output_len=1,
    )
    result, mock = served(Rule(0.001).script, load, max_errors=0)
    planned = result.workload.description["input_tokens"]
    lengths = [len(body["prompt"]) for body in mock.bodies]
    assert sum(lengths) / len(lengths) == pytest.approx(planned["mean"])
    assert max(lengths) == planned["max"]
    assert check(result, "input_counts").ok


def test_the_warm_up_warms_nothing_that_is_measured() -> None:
    load = LoadConfig(num_requests=30)
    plan, warmup = plan_with_warmup(
        workload_of(load),
        load,
        seed=3,
        warmup_requests=10,
        corpus_token_ids=list(range(5000)),
        max_model_len=4096,
        vocab_size=None,
    )
    begins = {tuple(one.prompt_token_ids[:8]) for one in plan.requests}
    assert not begins & {tuple(one.prompt_token_ids[:8]) for one in warmup.requests}
