"""The way that steps take on a GPU, here with a device that is never behind: what is left to it,
what the host must wait for, and steps whose tokens are read after the next was launched."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from llmbench.engines.api import Request, SamplingParams, TokenEvent
from llmbench.engines.assemble import LoadedModel, build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.errors import OutOfMemory
from llmbench.engines.executors import launched
from llmbench.engines.executors.launched import Launching
from llmbench.engines.executors.moves import carry_out
from llmbench.engines.executors.passes import EagerPass
from llmbench.engines.executors.torch import TorchExecutor
from llmbench.engines.models.catalogue import ModelFiles, resolve_model
from llmbench.engines.pipeline import PipelinedCore
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.trace import PhaseTimes, StepTrace
from torch import Tensor

CPU = torch.device("cpu")
DRAWN = (
    SamplingParams(12, ignore_eos=True),
    SamplingParams(9, temperature=0.9, top_p=0.9, seed=3, n=2, ignore_eos=True),
    SamplingParams(12, temperature=1.2, top_k=20, min_p=0.01, seed=8),
    SamplingParams(7, n=3, temperature=1.0, seed=5, stop_token_ids=tuple(range(0, 400, 7))),
)
ON_HOST = (
    SamplingParams(6, temperature=0.8, seed=2, logprobs=2, ignore_eos=True),
    SamplingParams(5, temperature=0.8, seed=4, presence_penalty=0.5, ignore_eos=True),
)


class _Moment:
    """An event of a device that is done at once."""

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, _end: _Moment) -> float:
        return 1.0


class _Readback:
    def mark(self) -> _Moment:
        return _Moment()

    def copy(self, tokens: Tensor) -> Tensor:
        return tokens.clone()


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    return resolve_model("bundled")


@pytest.fixture(scope="module")
def loaded(files: ModelFiles) -> LoadedModel:
    return load_model(files, settings(files))


def settings(files: ModelFiles, **changes: object) -> ResolvedEngine:
    chosen = {"dtype": "float32", "device": "cpu", "max_model_len": 96, "max_num_seqs": 6}
    return resolve(engine_config("vllm-v1", **chosen, kv_memory_bytes=2**22, **changes), files)


def launching(loaded: LoadedModel, files: ModelFiles) -> tuple[PipelinedCore, Launching]:
    """An engine whose executor takes its device for a GPU, and what it launches steps with."""
    core = build_engine(loaded, settings(files, async_scheduling=True), WallClock())
    assert isinstance(core, PipelinedCore)
    executor = core._executor
    assert isinstance(executor, TorchExecutor)
    cache = executor._packed._cache.tensors
    move, readback = partial(carry_out, cache=cache, host=[]), _Readback()
    runner = Launching(CPU, move, None, here=executor._here, readback=readback)  # type: ignore[arg-type]
    executor._passes, executor._runner = executor._packed, runner
    return core, runner


def served(core: object, sampling: tuple[SamplingParams, ...]) -> tuple[dict, list[StepTrace]]:
    """Tokens by sequence, and the steps. A request comes a step."""
    draw = random.Random(11)
    coming = [
        Request(str(i), tuple(draw.randrange(3, 400) for _ in range(draw.randint(1, 30))), one)
        for i, one in enumerate(sampling)
    ]
    tokens: dict[tuple[str, int], list[int | None]] = {}
    steps: list[StepTrace] = []
    while coming or core.has_work():  # type: ignore[attr-defined]
        if coming:
            core.add(coming.pop(0))  # type: ignore[attr-defined]
        outcome = core.step()  # type: ignore[attr-defined]
        for event in outcome.events:
            assert not event.detail, event.detail
            tokens.setdefault((event.request_id, event.choice), []).append(event.token_id)
        if outcome.trace is not None:
            steps.append(outcome.trace)
    return tokens, steps


def test_drawn_tokens_stay_on_the_device(loaded: LoadedModel, files: ModelFiles) -> None:
    """The next step is launched before they are read, and they are those of the plain loop."""
    expected, _ = served(build_engine(loaded, settings(files), WallClock()), DRAWN)
    tokens, steps = served(launching(loaded, files)[0], DRAWN)
    assert tokens == expected
    assert {step.synchronous for step in steps} == {""}


def test_what_the_host_must_wait_for_is_said(loaded: LoadedModel, files: ModelFiles) -> None:
    sampling = (*ON_HOST, *DRAWN)
    expected, _ = served(build_engine(loaded, settings(files), WallClock()), sampling)
    tokens, steps = served(launching(loaded, files)[0], sampling)
    assert tokens == expected
    reasons = {step.synchronous for step in steps}
    assert {"", "logprobs"} < reasons
    assert reasons <= {"", "logprobs", "penalties", "logprobs, penalties"}


def test_logits_without_a_distribution_end_the_requests_when_they_are_read(
    loaded: LoadedModel, files: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then a step has been launched that reads a token's embedding: of one that there is."""
    core, runner = launching(loaded, files)
    forward, passes = loaded.model.forward, 0

    def breaking(*arguments: object) -> Tensor:
        nonlocal passes
        passes += 1
        assert bool((torch.as_tensor(runner._sampled) >= 0).all())
        assert bool((arguments[0] >= 0).all())  # type: ignore[operator]
        logits = forward(*arguments)  # type: ignore[arg-type]
        return torch.full_like(logits, torch.nan) if passes == 3 else logits

    monkeypatch.setattr(loaded.model, "forward", breaking)
    core.add(Request("bad", (5, 6, 7), DRAWN[1]))
    events: list[TokenEvent] = []
    while core.has_work():
        events += core.step().events
    assert "no probability distribution" in events[-1].detail
    assert passes == 4
    core.add(Request("good", (5, 6, 7), DRAWN[1]))
    while core.has_work():
        events += core.step().events
    assert sum(event.request_id == "good" and not event.detail for event in events) == 18


class _CurrentDevice:
    """What `torch.cuda.device` does: inside, the thread's current device is the model's."""

    def __init__(self) -> None:
        self.inside = False

    def __enter__(self) -> None:
        assert not self.inside
        self.inside = True

    def __exit__(self, *_: object) -> None:
        self.inside = False


def test_whichever_thread_asks_work_is_launched_on_the_models_device(
    loaded: LoadedModel, files: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's engine runs in another thread than the one that chose the device."""
    core, runner = launching(loaded, files)
    executor: Any = core._executor
    here = executor._here = runner._here = _CurrentDevice()
    seen: set[str] = set()

    def inside(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            assert here.inside, name
            seen.add(name)
            return call(*arguments)

        return called

    places = (
        (executor, "_prepare"),
        (EagerPass, "logits"),
        (launched, "sample"),
        (launched, "choose"),
    )
    for place, name in places:
        monkeypatch.setattr(place, name, inside(name, getattr(place, name)))
    served(core, (*ON_HOST, *DRAWN))
    assert seen == {"_prepare", "logits", "sample", "choose"}
    assert not here.inside


def test_no_room_to_sample_is_said_of_the_engines_own_device(
    loaded: LoadedModel, files: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, _ = launching(loaded, files)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(launched, "sample", full)
    with pytest.raises(OutOfMemory, match=r"^cpu has no memory left to sample"):
        served(core, ON_HOST)


class _At(_Moment):
    """A moment of a device's clock, in milliseconds."""

    def __init__(self, ms: float) -> None:
        self.ms = ms

    def elapsed_time(self, end: _At) -> float:  # type: ignore[override]
        return end.ms - self.ms


def test_what_a_device_took_to_swap_is_not_the_model_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host waits 50 ms for a step of which the device swapped 20 ms, or 70."""
    for swapped_ms, expected in ((20, (0.021, 0.030)), (70, (0.051, 0.0))):
        clock = iter((1.0, 1.05))
        monkeypatch.setattr(launched, "perf_counter", lambda clock=clock: next(clock))
        begin, moved, end = _At(100), _At(100 + swapped_ms), _At(180)
        times = PhaseTimes(prepare_s=0.002, swap_s=0.001)
        step: Any = launched.LaunchedStep(begin, end, times, None, None, moved)  # type: ignore[arg-type]
        found = step.result()
        assert (found.times.swap_s, found.times.sample_s) == pytest.approx(expected)
        assert found.device_s == pytest.approx(0.080)
