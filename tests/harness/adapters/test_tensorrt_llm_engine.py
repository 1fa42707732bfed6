"""The adapter over a stand-in with TensorRT-LLM's interface; the library needs a GPU."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from llmbench.engines.api import FinishReason, Request, SamplingParams, TokenEvent
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.adapters.run import measure_adapted
from llmbench.harness.adapters.tensorrt_llm_engine import TensorRtLlmEngine
from llmbench.harness.cli import main
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.drive import drive
from llmbench.harness.run.experiment import prepare
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.run.watch import Silent
from llmbench.workloads.api import Plan, PlannedRequest

from .tensorrt_llm_stand_in import RequestError, Response, Script, package

MOST_S = 30.0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = package()
    monkeypatch.setitem(sys.modules, "tensorrt_llm", made)
    return made


@pytest.fixture
def engine(library: ModuleType) -> Iterator[TensorRtLlmEngine]:  # noqa: ARG001
    made = TensorRtLlmEngine("a-model", WallClock(), max_batch_size=8)
    yield made
    made.close()


def responses(*pieces: Sequence[int], finish: str | None = "length") -> Script:
    """Responses with these tokens; the last of them ends the request."""

    def script(_: object) -> list[Response]:
        *most, last = (tuple(piece) for piece in pieces)
        return [*(Response(piece) for piece in most), Response(last, finish)]

    return script


def request(name: str, first: int = 1, **sampling: Any) -> Request:
    asked: dict[str, Any] = {"max_tokens": 4, "ignore_eos": True, **sampling}
    return Request(name, (first, 2, 3), SamplingParams(**asked))


def planned(index: int, output_tokens: int, first: int = 1) -> PlannedRequest:
    return PlannedRequest(index, 0.0, (first, 2, 3), output_tokens)


def events_of(engine: TensorRtLlmEngine, until: int = 1) -> list[TokenEvent]:
    """Steps until so many requests have ended."""
    events: list[TokenEvent] = []
    ends_s = time.monotonic() + MOST_S
    while sum(event.finish is not None for event in events) < until:
        assert time.monotonic() < ends_s, events
        events += engine.step().events
    return events


def test_tokens_are_counted_and_not_responses(
    engine: TensorRtLlmEngine, library: ModuleType
) -> None:
    """Six tokens in three responses, of two with an empty one between, and one of a token each."""
    library.LLM.scripts = {
        5: responses((100, 101, 102), (), (103,), (104, 105)),
        6: responses((7,), (8,)),
    }
    seen = drive(engine, WallClock(), Plan((planned(0, 6, 5), planned(1, 2, 6)), None))
    first, second = seen.records
    assert [one.status for one in seen.records] == [RequestStatus.OK] * 2
    assert first.output_token_ids == (100, 101, 102, 103, 104, 105)
    assert second.output_token_ids == (7, 8)
    times = first.token_times_s
    assert times[0] == times[1] == times[2]
    assert times[2] < times[3] < times[4]
    assert times[4] == times[5]
    assert seen.steps == ()
    assert not engine.has_work()
    assert engine._llm.unheard == 0


def test_a_token_has_the_time_at_which_it_came(library: ModuleType) -> None:
    """However late a step asks for it: here only after all of them have come."""

    class Counting:
        """A clock that says how often the thread of the replies has asked."""

        asked = 0

        def now(self) -> float:
            self.asked += 1
            return float(self.asked)

        def sleep_until(self, time_s: float) -> None: ...

    clock = Counting()
    engine = TensorRtLlmEngine("a-model", clock)
    try:
        engine.add(request("r", max_tokens=3))
        ends_s = time.monotonic() + MOST_S
        while clock.asked < 3:
            assert time.monotonic() < ends_s
            time.sleep(0.001)
        events = events_of(engine)
    finally:
        engine.close()
    assert [(one.token_id, one.time_s) for one in events] == [(100, 1.0), (101, 2.0), (102, 3.0)]
    assert [one.finish for one in events] == [None, None, FinishReason.LENGTH]
    assert library.__version__ == engine.version


def test_an_exception_ends_its_request_and_no_other(
    engine: TensorRtLlmEngine, library: ModuleType
) -> None:
    def fails(_: object) -> list[Response]:
        return [Response((100, 101)), Response(error=RequestError("out of\nblocks"))]

    library.LLM.scripts = {5: fails}
    seen = drive(engine, WallClock(), Plan((planned(0, 4, 5), planned(1, 4)), None))
    failed, served = seen.records
    assert (failed.status, served.status) == (RequestStatus.FAILED, RequestStatus.OK)
    assert failed.detail == "TensorRT-LLM: out of blocks"
    assert failed.output_token_ids == (100, 101)
    assert served.output_token_ids == (100, 101, 102, 103)


@pytest.mark.parametrize(
    ("finish", "status", "detail"),
    [
        ("stop", RequestStatus.OK, ""),
        ("timeout", RequestStatus.FAILED, "TensorRT-LLM: timeout"),
        ("cancelled", RequestStatus.FAILED, "TensorRT-LLM: cancelled"),
    ],
)
def test_a_short_stream_has_the_tokens_that_came(
    engine: TensorRtLlmEngine,
    library: ModuleType,
    finish: str,
    status: RequestStatus,
    detail: str,
) -> None:
    library.LLM.scripts = {5: responses((100,), (101, 102), finish=finish)}
    (record,) = drive(engine, WallClock(), Plan((planned(0, 8, 5),), None)).records
    assert (record.status, record.detail) == (status, detail)
    assert record.output_token_ids == (100, 101, 102)


def test_a_stream_that_ends_without_a_reason_is_an_error(
    engine: TensorRtLlmEngine, library: ModuleType
) -> None:
    """Releases from 1.4 on tell an error in a field of what they return."""

    def ends(_: object) -> list[Response]:
        return [Response((100,)), Response(error=StopAsyncIteration())]

    def tells(_: object) -> list[Response]:
        return [Response((9,)), Response(told="no blocks are left")]

    library.LLM.scripts = {5: ends, 6: tells}
    engine.add(request("cut", 5))
    engine.add(request("told", 6))
    events = events_of(engine, until=2)
    by_name = {one.request_id: one for one in events if one.finish is not None}
    assert by_name["cut"].finish == by_name["told"].finish == FinishReason.ERROR
    assert "without a finish" in by_name["cut"].detail
    assert by_name["told"].detail == "TensorRT-LLM: no blocks are left"
    assert [one.token_id for one in events if one.token_id is not None] in ([100, 9], [9, 100])


def test_after_an_abort_nothing_comes_and_its_name_is_free(
    engine: TensorRtLlmEngine, library: ModuleType
) -> None:
    library.LLM.scripts = {5: lambda _: [Response((1,))] * 3}
    engine.add(request("r", 5))
    ends_s = time.monotonic() + MOST_S
    while engine._arrived.empty():
        assert time.monotonic() < ends_s
        time.sleep(0.001)
    engine.abort("r")
    engine.abort("never held")
    assert not engine.has_work()
    assert engine._llm.aborted == [1]
    engine.add(request("r", max_tokens=2))
    # Whatever the first of the two still sent is not taken for the second's.
    assert [one.token_id for one in events_of(engine)] == [100, 101]


def test_an_engine_that_falls_silent_is_given_up(library: ModuleType) -> None:
    library.LLM.scripts = {5: lambda _: [Response((100,))]}
    engine = TensorRtLlmEngine("a-model", WallClock(), silence_s=0.05)
    try:
        (record,) = drive(engine, WallClock(), Plan((planned(0, 4, 5),), None)).records
    finally:
        engine.close()
    assert record.status is RequestStatus.FAILED
    assert record.detail == "TensorRT-LLM: nothing for 0.05 s"
    assert record.output_token_ids == (100,)


def test_an_engine_that_forgets_serves_the_next_run_from_another_cache(
    engine: TensorRtLlmEngine,
) -> None:
    (before,) = drive(engine, WallClock(), Plan((planned(0, 4),), None)).records
    first = engine._llm
    engine.forget()
    (after,) = drive(engine, WallClock(), Plan((planned(0, 4),), None)).records
    assert engine._llm is not first
    assert first.is_shut_down
    assert before.output_token_ids == after.output_token_ids
    assert after.status is RequestStatus.OK


def test_a_worker_that_is_gone_fails_what_is_sent_to_it(engine: TensorRtLlmEngine) -> None:
    engine._llm.shutdown()
    (record,) = drive(engine, WallClock(), Plan((planned(0, 4),), None)).records
    assert record.status is RequestStatus.FAILED
    assert record.detail == "TensorRT-LLM: LLM is shutting down"


def test_settings_go_over(engine: TensorRtLlmEngine) -> None:
    assert engine._llm.settings == {"model": "a-model", "dtype": "auto", "max_batch_size": 8}
    engine.add(request("greedy"))
    drawn = {"temperature": 0.5, "top_k": 7, "seed": 11, "repetition_penalty": 1.5}
    engine.add(request("drawn", stop=("x",), stop_token_ids=(9,), **drawn))
    events_of(engine, until=2)
    (prompt, greedy), (_, sampled) = engine._llm.asked
    assert prompt == [1, 2, 3]
    assert greedy.is_greedy
    assert (greedy.max_tokens, greedy.ignore_eos, greedy.detokenize) == (4, True, False)
    assert greedy.repetition_penalty is None
    assert not sampled.is_greedy
    assert (sampled.temperature, sampled.top_k, sampled.top_p, sampled.seed) == (0.5, 7, 1.0, 11)
    assert (sampled.stop, sampled.stop_token_ids, sampled.detokenize) == (["x"], [9], True)
    assert sampled.repetition_penalty == 1.5


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Request("r", (1,), SamplingParams(logprobs=1)), "logprobs"),
        (Request("r", (1,), SamplingParams(n=2)), "samples"),
        (Request("r", (1,), SamplingParams(), priority=1), "priority"),
        (Request("r", (), SamplingParams()), "at least one token"),
        (Request("r", (1,) * 65, SamplingParams()), "should not exceed 64"),
    ],
    ids=["logprobs", "samples", "priority", "empty", "long"],
)
def test_what_it_cannot_do_is_refused(engine: TensorRtLlmEngine, asked: Request, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        engine.add(asked)
    assert not engine.has_work()


def test_a_setting_that_it_does_not_take_is_one_line(library: ModuleType) -> None:  # noqa: ARG001
    with pytest.raises(ConfigError, match="invalid argument: block_size"):
        TensorRtLlmEngine("a-model", WallClock(), block_size=16)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module", name="tensorrt_llm"), "pip install tensorrt-llm"),
        (ImportError("libcuda.so.1: cannot open shared object file"), "libcuda"),
    ],
    ids=["absent", "broken"],
)
def test_without_the_library_one_line_says_what_to_install(
    error: ImportError,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken:
        """Finds the library, and fails as it is loaded."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "tensorrt_llm":
                raise error

    monkeypatch.delitem(sys.modules, "tensorrt_llm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["run", "--target", "tensorrt_llm", "--quiet", "--num-requests", "4"])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_a_run_has_a_result_and_leaves_nothing_behind(
    library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Any] = []
    plain = library.LLM

    def note(**settings: Any) -> Any:
        print("[TensorRT-LLM] a banner on standard output")
        made.append(plain(**settings))
        return made[0]

    library.LLM = note
    load = LoadConfig(num_requests=12, max_input_len=40, max_output_len=6)
    settings = RunConfig("bundled", engine_config("paged", device="cpu"), load, quality_tokens=0)
    found = measure_adapted(prepare(settings, Silent()), "tensorrt_llm", Silent())
    result = found.result
    # Where the result of --json goes, and nothing else.
    assert capsys.readouterr().out == ""
    assert result.label == "tensorrt_llm 1.2.0"
    assert result.environment["packages"]["tensorrt_llm"] == "1.2.0"
    assert result.counters.requests_ok == 12
    (llm,) = made
    assert llm.is_shut_down
    assert llm.unheard == 0
    assert set(llm.settings) == {"model", "dtype", "max_seq_len", "max_batch_size"}
