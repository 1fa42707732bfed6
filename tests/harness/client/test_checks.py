"""What a server says of its prefix cache, held against what it was sent, and other checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.client.checks import (
    AskedOfServer,
    assess_replies,
    check_gaps,
    check_hidden,
    check_in_flight,
    check_input_counts,
    check_prefix_cache,
)
from llmbench.harness.client.config import PrefixCache
from llmbench.harness.machine.throttling import Throttled
from llmbench.harness.result import Check, ClientLoad, Window
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.run.validity import Asked

from ..observed import make_request

Prompts = Sequence[Sequence[int]]
COUNT, LENGTH, SHARED = 32, 80, 48


def drawn(shared: int = 0) -> list[list[int]]:
    rng = np.random.default_rng()
    same = rng.integers(1, 1000, shared).tolist()
    # No two of them go on alike.
    return [
        [*same, 1000 + at, *rng.integers(2000, 50_000, LENGTH - shared - 1).tolist()]
        for at in range(COUNT)
    ]


def checked(
    prompts: Prompts,
    found: Mapping[int, int],
    *,
    added: int = 0,
    endpoint: str = "completions",
    prompt_as: str = "ids",
    prefix_cache: PrefixCache = "fresh",
    told: bool = True,
) -> Check:
    """found: cached tokens by index; a reply that has none does not say. added: by the server."""
    names = [f"r{at}" for at in range(len(prompts))]
    asked = AskedOfServer(
        Asked({}, open_loop=False, prompts=dict(zip(names, map(tuple, prompts), strict=True))),
        {name: len(prompt) for name, prompt in zip(names, prompts, strict=True)},
        endpoint,
        prompt_as,
        prefix_cache,
        told,
    )
    return check_prefix_cache(
        [_reply(at, len(prompt) + added, found.get(at)) for at, prompt in enumerate(prompts)],
        asked,
    )


def _reply(at: int, input_tokens: int, cached: int | None) -> RequestRecord:
    record = make_request((0.1, 0.2), index=at, input_tokens=input_tokens)
    return replace(record, cached_tokens=cached)


def everywhere(tokens: int) -> dict[int, int]:
    return dict.fromkeys(range(COUNT), tokens)


def test_a_hit_of_a_few_tokens_is_no_warm_cache() -> None:
    """As in process: 16 of 2560 tokens are under 1 %, 32 are over."""
    assert checked(drawn(), {3: 16}).ok
    assert not checked(drawn(), {3: 16, 5: 16}).ok


def test_prompts_that_begin_alike_are_no_excuse_for_what_they_do_not_share() -> None:
    """The first computes what all begin with, so that the others find it; a second run of the same
    requests finds everything."""
    first = {**everywhere(SHARED), 0: 0}
    assert checked(drawn(SHARED), first).ok
    again = checked(drawn(SHARED), everywhere(LENGTH))
    assert (again.ok, again.fatal) == (False, True)
    assert again.value == pytest.approx(1 - SHARED / LENGTH)
    assert again.detail == (
        f"the server found {COUNT * LENGTH} of {COUNT * LENGTH} prompt tokens in its prefix cache, "
        f"{COUNT * (LENGTH - SHARED)} of them in no other prompt of the run: it was warm before"
    )


def test_two_prompts_that_begin_alike_excuse_only_themselves() -> None:
    prompts = drawn()
    prompts[1][:32] = prompts[0][:32]
    assert checked(prompts, {1: 32}).ok
    assert not checked(prompts, {1: 32, 2: 32}).ok


def test_a_reply_that_does_not_say_found_nothing_once_another_says() -> None:
    """vLLM leaves the field out where there is nothing to tell."""
    warm = {**everywhere(64)}
    del warm[7]
    assert not checked(drawn(), warm).ok
    assert checked(drawn(), {}).detail == "the server was told to reuse nothing (fresh)"
    unknown = checked(drawn(), {}, told=False)
    assert (unknown.ok, unknown.fatal) == (False, False)


@pytest.mark.parametrize("first", [0, 32], ids=["by the first", "by the warm-up"])
def test_a_chats_template_is_no_warm_cache(first: int) -> None:
    """40 tokens around every prompt, of which two blocks are in front and in the cache."""
    template = {**everywhere(32), 0: first}
    assert checked(drawn(), template, added=40, endpoint="chat", prompt_as="text").ok
    warm = checked(drawn(), everywhere(112), added=40, endpoint="chat", prompt_as="text")
    assert not warm.ok
    assert warm.value == pytest.approx((112 - 40) / (LENGTH + 40))


def test_token_ids_have_no_template() -> None:
    assert not checked(drawn(), everywhere(32)).ok


def test_who_lets_the_server_do_as_it_likes_is_told_and_not_judged() -> None:
    found = checked(drawn(), everywhere(64), prefix_cache="server")
    assert found.ok
    assert "it was warm before" in found.detail


def test_replies_without_gaps_between_tokens_say_which_way_chunks_were_not_tokens() -> None:
    known = make_request((0.1, 0.2), index=0)
    joined, parted = replace(known, counted="total"), replace(known, counted="split")
    assert check_gaps([known]).ok
    both = check_gaps([known, joined, parted, parted])
    assert not both.ok
    assert both.detail.startswith("3 of 4 replies told their tokens only in sum")
    assert "(1 in chunks of several tokens, 2 in more chunks than tokens)" in both.detail
    assert check_gaps([parted]).detail.endswith("(1 in more chunks than tokens)")


def test_thoughts_that_were_never_sent_are_told() -> None:
    shown = make_request((0.1, 0.2), index=0)
    assert check_hidden([shown]).ok
    found = check_hidden([shown, replace(shown, hidden_tokens=1)])
    assert not found.ok
    assert not found.fatal
    assert found.detail.startswith("1 of 4 output tokens are thoughts that were never sent")


def _twenty(count: int = 20, *, due_s: float = 0.0) -> list[RequestRecord]:
    """Replies that are sent at 0 and end at 10 s: so many are in flight on average."""
    return [make_request((1.0, 10.0), index=at, due_s=due_s, send_s=0.0) for at in range(count)]


@pytest.mark.parametrize(
    ("count", "in_flight_s", "error", "ok"),
    [
        (20, 175.0, 0.125, False),  # 17.5 in flight
        (20, 181.0, 0.095, True),
        (2, 16.0, 0.2, True),  # 0.4 of a request
        (2, 14.0, 0.3, False),
    ],
)
def test_a_count_that_is_not_the_records_breaks_littles_law(
    count: int, in_flight_s: float, error: float, ok: bool
) -> None:
    found = check_in_flight(_twenty(count), in_flight_s)
    assert (found.ok, found.fatal) == (ok, True)
    assert found.value == pytest.approx(error)


def test_what_waits_to_be_sent_is_not_in_flight() -> None:
    """Due 5 s before it is sent: 20 are in flight, and not 30."""
    found = check_in_flight(_twenty(due_s=-5.0), 200.0)
    assert found.ok
    assert found.value == pytest.approx(0.0)


def _asked(requests: Sequence[RequestRecord], *, open_loop: bool = False) -> AskedOfServer:
    """Prompts of 100 tokens, sent as text."""
    planned = {one.request_id: 100 for one in requests}
    outputs = {one.request_id: one.output_tokens for one in requests}
    return AskedOfServer(
        Asked(outputs, open_loop=open_loop), planned, "completions", "text", "server", told=False
    )


@pytest.mark.parametrize(("counted", "ok"), [(104, True), (106, False), (94, False)])
def test_text_may_be_cut_into_a_few_more_or_fewer_tokens(counted: int, ok: bool) -> None:
    replies = [make_request((0.1,), index=at, input_tokens=counted) for at in range(10)]
    found = check_input_counts(replies, _asked(replies))
    assert (found.ok, found.fatal) == (ok, True)
    assert found.value == pytest.approx(abs(counted / 100 - 1))


def test_a_rate_that_was_not_sent_is_among_the_checks() -> None:
    """Ten a second were due and five were sent."""
    replies = [
        make_request((at / 5 + 0.1,), index=at, due_s=at / 10, send_s=at / 5, input_tokens=100)
        for at in range(50)
    ]
    validity = assess_replies(
        replies,
        Window(start_s=0.0, end_s=9.8, method="by hand", steady=True),
        _asked(replies, open_loop=True),
        ClientLoad(
            processes=1,
            connections=1,
            loop_lag_p50_s=0.0,
            loop_lag_p99_s=0.0,
            loop_lag_max_s=0.0,
            cpu_share=0.1,
            send_lag_p99_s=0.0,
        ),
        None,
        interrupted=False,
        failure="",
        throttled=Throttled(),
    )
    rate = validity.find("rate")
    assert rate is not None
    assert (rate.ok, rate.fatal) == (False, True)
    assert rate.value == pytest.approx(0.5)
