"""The step loop's own duties: events, endings, traces, refusals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.errors import ConfigError
from llmbench.engines.kv.paged import PagedKVCache

from .drive import drive, make_core, make_request


def test_an_idle_engine_does_nothing() -> None:
    outcome = make_core().step()
    assert outcome.events == ()
    assert outcome.trace is None


def test_one_token_a_step_and_an_end_at_max_tokens() -> None:
    run = drive(make_core(), [make_request("a", 5, 3)])
    assert [event.time_s for event in run.events] == [1.0, 2.0, 3.0]
    assert [event.finish for event in run.events] == [None, None, FinishReason.LENGTH]


def test_a_stop_token_ends_the_request_and_is_kept() -> None:
    free = drive(make_core(), [make_request("a", 5, 6)]).tokens("a")
    sampling = SamplingParams(max_tokens=6, stop_token_ids=(free[2],))
    request = Request("a", make_request("a", 5, 6).prompt_token_ids, sampling)
    run = drive(make_core(), [request])
    assert run.tokens("a") == free[: free.index(free[2]) + 1]
    assert run.events[-1].finish is FinishReason.STOP


@pytest.mark.parametrize(("ignore", "expected"), [(False, FinishReason.STOP), (True, "length")])
def test_end_of_text_can_be_ignored(ignore: bool, expected: str) -> None:
    free = drive(make_core(), [make_request("a", 5, 2)]).tokens("a")
    core = make_core()
    core._ledger._eos = frozenset({free[0]})
    prompt = make_request("a", 5, 2).prompt_token_ids
    run = drive(core, [Request("a", prompt, SamplingParams(max_tokens=2, ignore_eos=ignore))])
    assert run.events[-1].finish == expected


def test_the_trace_tells_phases_queue_and_holdings() -> None:
    core = make_core(max_num_seqs=1)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 4, 1)])
    first, second, third = run.steps
    assert (first.prefill_tokens, first.decode_tokens, first.waiting) == (6, 0, 1)
    assert (second.prefill_tokens, second.decode_tokens) == (0, 1)
    holding = second.kv.holdings[0]
    assert (holding.request_id, holding.used_tokens, holding.held_tokens) == ("a", 7, 8)
    assert third.waiting == 0
    assert [step.index for step in run.steps] == [0, 1, 2]


def test_the_trace_has_the_device_s_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a step that was prepared ahead has it (`pipeline.py`)."""
    core = make_core()
    execute = core._executor.execute
    monkeypatch.setattr(
        core._executor, "execute", lambda *step: replace(execute(*step), device_s=0.25)
    )
    run = drive(core, [make_request("a", 6, 2)])
    assert [step.device_s for step in run.steps] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("a", (), SamplingParams()), "prompt: '' is not allowed"),
        (make_request("a", 30, 3), r"at most max_model_len \(32\) together"),
    ],
)
def test_requests_that_cannot_be_served_are_refused_at_the_door(request_, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_core().add(request_)


def test_an_id_is_used_once() -> None:
    core = make_core()
    core.add(make_request("a", 4, 1))
    with pytest.raises(ConfigError, match="request_id"):
        core.add(make_request("a", 4, 1))


def test_aborting_an_unknown_request_is_harmless() -> None:
    core = make_core()
    core.abort("nobody")
    assert not core.has_work()


def test_a_request_that_outgrows_the_pool_alone_is_refused_not_retried_for_ever() -> None:
    core = make_core(pool_tokens=16, max_model_len=32)
    run = drive(core, [make_request("a", 14, 8)])
    assert run.events[-1].finish is FinishReason.REFUSED
    assert "never hold" in run.events[-1].detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -1.0),
        ("temperature", 1e-45),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
    ],
)
def test_sampling_parameters_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        SamplingParams(**{field: value})


def test_the_queues_can_be_looked_at_between_steps() -> None:
    core = make_core(max_num_seqs=1)
    for name in "abc":
        core.add(make_request(name, 4, 2))
    before = core.queues
    core.step()
    after = core.queues
    assert [[state.request_id for state in queue] for queue in before] == [["a", "b", "c"], [], []]
    assert [[state.request_id for state in queue] for queue in after] == [["b", "c"], ["a"], []]


def test_a_sample_whose_copy_was_lost_with_a_failed_step_fails_with_it() -> None:
    """A contiguous cache copies the prompt for the second sample in the next step's moves. That
    step computes b's prompt and fails: a's second sample would read what was never written."""
    core = make_core("separate", kv="contiguous", fail_at=1, pool_tokens=96)
    run = drive(core, [make_request("a", 4, 3, n=2)], arrivals={1: [make_request("b", 4, 2)]})
    details = {event.detail for event in run.events if event.finish is FinishReason.ERROR}
    assert details == {"RuntimeError: the device is on fire"}
    assert run.steps[1].failed == ("b", "a", "a#1")
    assert core.strategy.kv.free_units == core.strategy.kv.total_units


@pytest.mark.parametrize(("batching", "fails"), [("unified", 9), ("sarathi", 10), ("separate", 9)])
@pytest.mark.parametrize("late", [None, {}])
def test_a_sample_that_is_refused_in_a_step_that_fails_ends_once(
    batching: str, fails: int, late: dict[str, Any] | None
) -> None:
    """The two outgrow the pool: one has made room and can never come back, the other computes."""
    for fail_at in range(fails - 2, fails + 3):
        core = make_core(
            batching,
            pool_tokens=12,
            block_size=2,
            max_num_batched_tokens=6 if batching != "separate" else 32,
            admission_options={"watermark": 0.0},
            fail_at=fail_at,
            late=late,
        )
        run = drive(core, [make_request("a", 4, 10, n=2)])
        ends = Counter((event.request_id, event.choice) for event in run.events if event.finish)
        assert ends == {("a", 0): 1, ("a", 1): 1}


@pytest.mark.parametrize("kv", ["paged", "contiguous"])
def test_a_request_may_be_called_as_a_sample_of_another(kv: str) -> None:
    """`a#1` is the name under which the second sample of `a` is traced."""
    requests = [make_request("a", 5, 6, n=2), make_request("a#1", 6, 6)]
    core = make_core("unified", kv=kv, pool_tokens=128)
    run = drive(core, requests)
    alone = drive(make_core(pool_tokens=256), requests[1:])
    assert run.tokens("a#1") == alone.tokens("a#1")
    assert core.strategy.kv.free_units == core.strategy.kv.total_units


@pytest.mark.parametrize("late", [None, {}], ids=["in step", "ahead"])
@pytest.mark.parametrize("batching", ["separate", "unified", "inflight", "sarathi"])
@pytest.mark.parametrize(
    ("output", "n", "broken"), [(1, 1, (0, 0)), (4, 1, (2, 0)), (3, 2, (1, 1))]
)
def test_what_a_broken_sequence_computed_is_found_by_nobody(
    batching: str, late: dict[str, Any] | None, output: int, n: int, broken: tuple[int, int]
) -> None:
    """Its keys and values may be no numbers, and would break whoever read them. Also of one that
    left before its last token was read."""
    request = make_request("a", 9, output, n=n)
    again = replace(request, request_id="b")
    after = replace(request, request_id="c")

    def cached(broken: tuple[int, int] | None) -> dict[str, int]:
        core = make_core(
            batching, broken=broken, late=late, kv_options={"prefix_cache": True}, pool_tokens=96
        )
        run = drive(core, arrivals={0: [request], 8: [again], 16: [after]})
        kv = core.strategy.kv
        assert isinstance(kv, PagedKVCache)
        assert kv.pool.cached_blocks == len(kv.pool._content)
        ends = [event.finish for event in run.events if event.finish]
        assert ends.count(FinishReason.ERROR) == (n if broken else 0)
        starts: dict[str, int] = {}
        for chunk in (chunk for step in run.steps for chunk in step.chunks):
            starts.setdefault(chunk.request_id, chunk.start)
        return {name: starts[name] for name in "abc"}

    assert cached(None) == {"a": 0, "b": 8, "c": 8}
    assert cached(broken) == {"a": 0, "b": 0, "c": 8}


@pytest.mark.parametrize("late", [None, {}], ids=["in step", "ahead"])
def test_a_sample_without_a_token_takes_the_others_of_its_request_along(
    late: dict[str, Any] | None,
) -> None:
    core = make_core("unified", broken=(1, 1), late=late)
    run = drive(core, [make_request("a", 5, 4, n=2), make_request("b", 4, 4)])
    assert run.steps[1].failed == ("a", "a#1")
    assert [step.failed for step in run.steps if step.index != 1] == [()] * (len(run.steps) - 1)
    assert [len(run.tokens("a", choice)) for choice in (0, 1)] == [2, 1]
    assert len(run.tokens("b")) == 4
    assert [step.dropped for step in run.steps][2] == (() if late is None else ("a", "a#1"))
