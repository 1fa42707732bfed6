"""The adapter over a stand-in with vLLM's interface; the library itself is not on every machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.clock import VirtualClock
from llmbench.engines.errors import ConfigError
from llmbench.harness.adapters.vllm_engine import VllmEngine
from llmbench.harness.run.drive import drive
from llmbench.harness.run.record import RequestStatus
from llmbench.workloads.api import Plan, PlannedRequest


@dataclass
class StandIn:
    """As much of `vllm.LLMEngine` as is used: a second a step, tokens 100, 101, … a reply, the
    second and the third at once."""

    clock: VirtualClock
    longest: int = 64
    live: dict[str, list[Any]] = field(default_factory=dict)
    aborted: list[str] = field(default_factory=list)
    resets: int = 0
    keeps_prefixes: bool = False

    def add_request(self, name: str, prompt: Any, sampling: Any, *, priority: int) -> None:
        if len(prompt["prompt_token_ids"]) > self.longest:
            raise ValueError("The prompt is longer than the maximum model length")
        self.live[name] = [sampling, 0, priority]

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names
        for name in names:
            self.live.pop(name, None)

    def reset_prefix_cache(self) -> bool:
        self.resets += 1
        return not self.keeps_prefixes

    def has_unfinished_requests(self) -> bool:
        return bool(self.live)

    def step(self) -> list[Any]:
        self.clock.advance(1.0)
        outputs = []
        for name, state in list(self.live.items()):
            sampling, done, _ = state
            new = min(2 if done == 1 else 1, sampling.max_tokens - done)
            state[1] = done + new
            ended = state[1] == sampling.max_tokens
            samples = [
                SimpleNamespace(
                    index=index,
                    token_ids=list(range(100 + done, 100 + done + new)),
                    finish_reason="length" if ended else None,
                )
                for index in range(sampling.n)
            ]
            outputs.append(SimpleNamespace(request_id=name, outputs=samples))
            if ended:
                del self.live[name]
        return outputs


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def engine(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    library: Any = ModuleType("vllm")
    library.__version__ = "0.32"
    library.SamplingParams = lambda **asked: SimpleNamespace(**asked)
    library.sampling_params = SimpleNamespace(RequestOutputKind=SimpleNamespace(DELTA="delta"))
    library.LLM = lambda *_, **__: SimpleNamespace(llm_engine=StandIn(clock))
    monkeypatch.setitem(sys.modules, "vllm", library)
    return VllmEngine("a-model", clock, dtype="bfloat16")


def planned(index: int, due_s: float | None, output_tokens: int, samples: int = 1) -> Any:
    return PlannedRequest(index, due_s, (1, 2, 3), output_tokens, samples)


def test_a_plan_is_driven_as_ours_are(engine: VllmEngine, clock: VirtualClock) -> None:
    plan = Plan((planned(0, 0.0, 4), planned(1, 1.5, 1), planned(2, 1.5, 2, samples=2)), None)
    seen = drive(engine, clock, plan)
    assert [record.status for record in seen.records] == [RequestStatus.OK] * 4
    first, second, *samples = seen.records
    # Its second and third token come in one step.
    assert first.token_times_s == (1.0, 2.0, 2.0, 3.0)
    assert first.output_token_ids == (100, 101, 102, 103)
    assert (second.t_due_s, second.token_times_s) == (1.5, (3.0,))
    assert [one.output_tokens for one in samples] == [2, 2]
    assert seen.steps == ()


def test_settings_go_over_and_what_cannot_is_refused(engine: VllmEngine) -> None:
    sampling = SamplingParams(max_tokens=3, temperature=0.5, top_k=7, seed=11, stop=("x",), n=2)
    engine.add(Request("r", (1,), sampling, priority=5))
    ((asked, _, priority),) = engine._engine.live.values()
    assert (asked.temperature, asked.top_k, asked.seed, asked.n) == (0.5, 7, 11, 2)
    assert (asked.stop, asked.detokenize, priority) == (["x"], True, 5)
    engine.abort("r")
    assert not engine.has_work()
    with pytest.raises(ConfigError, match="logprobs"):
        engine.add(Request("s", (1,), SamplingParams(logprobs=1)))
    with pytest.raises(ConfigError, match="longer than the maximum"):
        engine.add(Request("t", (1,) * 65, SamplingParams()))


def test_what_is_cached_is_forgotten_or_it_is_an_error(
    engine: VllmEngine, clock: VirtualClock
) -> None:
    drive(engine, clock, Plan((planned(0, 0.0, 4),), None))
    assert engine.longest_step_s == 1.0
    engine.forget()
    assert (engine._engine.resets, engine.longest_step_s) == (1, 0.0)
    engine._engine.keeps_prefixes = True
    with pytest.raises(RuntimeError, match="kept its prefix cache"):
        engine.forget()


def test_what_a_later_version_refuses_is_a_setting_that_cannot_work(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClientError(Exception):
        pass

    def refuse(**_: Any) -> None:
        raise ClientError("n must be 1 when using greedy sampling, got 2.")

    library: Any = ModuleType("vllm")
    library.__version__ = "0.32"
    library.exceptions = SimpleNamespace(VLLMClientError=ClientError)
    library.SamplingParams = refuse
    library.sampling_params = SimpleNamespace(RequestOutputKind=SimpleNamespace(DELTA="delta"))
    library.LLM = lambda *_, **__: SimpleNamespace(llm_engine=StandIn(clock))
    monkeypatch.setitem(sys.modules, "vllm", library)
    engine = VllmEngine("a-model", clock)
    with pytest.raises(ConfigError, match="n must be 1 when using greedy"):
        engine.add(Request("r", (1,), SamplingParams(n=2)))


def test_without_the_library_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="pip install vllm"):
        VllmEngine("a-model", VirtualClock())
