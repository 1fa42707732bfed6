"""A run on another library's engine, from settings to a stored result with reports."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from llmbench.engines.api import FinishReason, Request, StepOutcome, TokenEvent
from llmbench.engines.clock import Clock
from llmbench.engines.config import engine_config
from llmbench.engines.errors import OutOfMemory
from llmbench.harness.adapters import run as tool
from llmbench.harness.adapters.run import measure_adapted
from llmbench.harness.cli import main
from llmbench.harness.comparison.compare import compare
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.options.server import TARGETS
from llmbench.harness.rendering import comparison_reports, run_reports
from llmbench.harness.run.experiment import Prepared, prepare
from llmbench.harness.run.watch import Silent
from llmbench.harness.storage.store import load_run, write_run
from llmbench.workloads.api import Plan


class Other:
    """Another library's engine: a token for each request a step, from 7 on."""

    version = "9.8"

    def __init__(self, clock: Clock, short: bool = False) -> None:
        self._clock = clock
        self._short = short
        self._live: dict[str, tuple[Request, int]] = {}
        self.longest_step_s = 0.0
        self.is_closed = False
        self.forgotten = 0

    def close(self) -> None:
        self.is_closed = True

    def add(self, request: Request) -> None:
        self._live[request.request_id] = (request, 0)

    def abort(self, request_id: str) -> None:
        self._live.pop(request_id, None)

    def forget(self) -> None:
        self.forgotten += 1

    def has_work(self) -> bool:
        return bool(self._live)

    def step(self) -> StepOutcome:
        now_s = self._clock.now()
        events: list[TokenEvent] = []
        for name, (request, done) in list(self._live.items()):
            last = done + 1 >= request.sampling.max_tokens - self._short
            self._live[name] = (request, done + 1)
            finish = FinishReason.LENGTH if last else None
            events.append(TokenEvent(name, 7 + done, now_s, finish))
            if last:
                del self._live[name]
        return StepOutcome(tuple(events), None)


def prepared() -> Prepared:
    load = LoadConfig(num_requests=12, max_input_len=40, max_output_len=6)
    settings = RunConfig("bundled", engine_config("paged", device="cpu"), load, quality_tokens=0)
    return prepare(settings, Silent())


def test_it_is_a_run_like_any_other_less_what_is_inside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Other] = []

    def other(_: Prepared, clock: Clock) -> Other:
        made.append(Other(clock))
        return made[0]

    monkeypatch.setitem(tool.ADAPTERS, "other", other)
    monkeypatch.setattr(tool, "_device", lambda: torch.device("cpu"))
    found = measure_adapted(prepared(), "other", Silent())
    result = found.result
    assert [one.is_closed for one in made] == [True]
    assert result.counters.requests_ok == 12
    assert result.label == "other 9.8"
    assert result.environment["packages"]["other"] == "9.8"
    assert (result.kv, result.memory, result.attribution) == (None, None, None)
    assert result.metrics["tpot"].stats["count"] > 0
    assert result.absent["mbu"] == "the library's steps are not seen"
    assert ("energy_per_token" in result.metrics) != ("energy_per_token" in result.absent)
    directory = write_run(tmp_path / "other", result, found.requests, found.steps, {})
    stored = load_run(directory)
    reports = run_reports("other", stored.result, stored.requests, stored.steps)
    assert "other 9.8" in reports["report.md"]
    runs = [stored, load_run(write_run(tmp_path / "b", result, found.requests, found.steps, {}))]
    processor = stored.result.environment["cpu"]["model"]
    assert (
        f"bundled · other · batching, admission, KV cache and weights: the library's own · "
        f"{result.config['dtype']} on {processor} · quick, 8 at a time, " in reports["report.md"]
    )
    assert "None" not in reports["report.md"]
    comparison = compare(runs, allow_invalid=True)
    assert comparison.same_requests
    assert "other" in comparison_reports(runs, comparison)["comparison.html"]


def test_on_a_gpu_the_report_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tool.ADAPTERS, "other", lambda _, clock: Other(clock))
    settings, found = prepared(), measure_adapted(prepared(), "other", Silent())
    monkeypatch.setattr(tool, "_device", lambda: torch.device("cuda"))
    config = tool.settings_of(settings, "other")
    gpus = [{"name": "NVIDIA H200", "memory_bytes": 1, "driver": "1"}]
    environment = {**found.result.environment, "gpus": gpus}
    result = found.result.model_copy(update={"config": config, "environment": environment})
    report = run_reports("other", result, found.requests, found.steps)["report.md"]
    assert f"· {config['dtype']} on NVIDIA H200 · quick, " in report


def test_a_device_without_memory_is_no_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Other):
        def step(self) -> StepOutcome:
            raise OutOfMemory("in a step", "cuda", "--max-num-seqs")

    monkeypatch.setitem(tool.ADAPTERS, "other", lambda _, clock: Full(clock))
    asked = replace(prepared(), warmup=Plan((), None))
    found = measure_adapted(asked, "other", Silent())
    assert found.failure == "cuda has no memory left in a step; lower --max-num-seqs"
    assert found.failure in found.result.validity.failures[0].detail


def test_replies_of_another_length_make_it_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tool.ADAPTERS, "other", lambda _, clock: Other(clock, short=True))
    found = measure_adapted(prepared(), "other", Silent())
    assert "token_counts" in {one.id for one in found.result.validity.failures}
    assert not found.result.validity.valid


def test_every_adapter_is_a_target() -> None:
    assert set(tool.ADAPTERS) < set(TARGETS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "inflight"), "engine: 'inflight'"),
        (("--quant", "awq"), "quant: 'awq'"),
        (("--num-requests", "4"), "pip install vllm"),
        (("--num-requests", "4", "--slo", "queue:1ms,ttft:1s"), "slo: 'queue'"),
    ],
)
def test_what_cannot_work_is_one_line(
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--target", "vllm", *words])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
