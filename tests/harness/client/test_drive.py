"""The client against a server whose every byte is known: counts exactly, times within a bound that
comes from the server's own log."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
from llmbench.harness.client.config import ClientConfig, Timeouts, Url
from llmbench.harness.client.errors import Label
from llmbench.harness.mock.rule import Fault, Rule
from llmbench.harness.mock.script import Chunk, Counting, Ending, Plain, Script
from llmbench.harness.run.drive import Progress
from llmbench.harness.run.record import RequestStatus
from llmbench.workloads.api import Plan, PlannedRequest

from .sending import Exchanged, exchange, plan_of, script_of, send_all

# The client's stamp of a chunk is after the server's, and by no more than the machine can keep a
# ready process from running: no statement about speed, but wrong clocks are off by far more.
LATEST_S = 5.0
SHORT = Timeouts(connect_s=5, first_token_s=1.0, chunk_s=1.0, total_s=10)


def check_against_truth(found: Exchanged) -> None:
    """Counts with no tolerance; each chunk after it was sent, and not long after."""
    assert found.sent.records
    for record in found.sent.records:
        truth = found.truths[record.request_id]
        assert record.status is RequestStatus.OK, record
        assert list(record.chunk_tokens) == list(truth.chunk_tokens)
        assert record.output_tokens == truth.tokens
        assert record.input_tokens == truth.prompt_tokens
        for seen_s, true_s in zip(record.chunk_times_s, truth.chunk_times_s, strict=True):
            assert 0 <= seen_s + found.origin_s - true_s < LATEST_S
        assert record.t_due_s <= record.t_send_s
        assert record.t_send_s + found.origin_s <= truth.received_s
        assert record.t_first_s == record.chunk_times_s[0]
        assert record.t_end_s == record.chunk_times_s[-1]


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
@pytest.mark.parametrize(
    "counting", [one for one in Counting if one not in (Counting.NONE, Counting.FINAL)]
)
def test_every_token_of_every_chunk_is_counted(counting: Counting, endpoint: str) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)

    def scripted(body: Mapping[str, Any], name: str) -> Script:
        rule = Rule(
            0.002, 0.001, tokens_per_chunk=4, silent_share=0.2, seed=seed, counting=counting
        )
        return rule.script(body, name)

    plan = plan_of(40, tokens=draw.randint(2, 40), concurrency=8)
    found = exchange(scripted, plan, endpoint=endpoint, prompt_as="text")
    check_against_truth(found)
    assert {record.counted for record in found.sent.records} == {
        {"continuous": "usage"}.get(counting.value, counting.value)
    }
    assert all(
        record.output_tokens == plan.requests[0].output_tokens for record in found.sent.records
    )


def test_returned_ids_are_kept() -> None:
    found = exchange(script_of([2, 1, 3], counting=Counting.TOKEN_IDS))
    assert list(found.only.output_token_ids) == [0, 1, 2, 3, 4, 5]


def test_a_total_that_is_told_at_the_end_counts_tokens_but_not_gaps() -> None:
    """Three chunks hold six tokens, and nobody says which: their sum is right, and that is all."""
    found = exchange(script_of([1, 4, 1], counting=Counting.FINAL))
    record = found.only
    assert record.output_tokens == 6
    assert list(record.chunk_tokens) == [2, 2, 2]
    assert record.counted == "total"
    assert len(record.chunk_times_s) == 3


def test_a_token_a_chunk_is_known_from_the_total_alone() -> None:
    found = exchange(script_of([1] * 5, counting=Counting.FINAL))
    check_against_truth(found)
    assert found.only.counted == "usage"


def test_a_chat_begins_with_its_first_token_and_not_with_its_role() -> None:
    script = Script((Chunk(0.05, 1), Chunk(0.001, 1)), counting=Counting.FINAL)
    found = exchange(script, endpoint="chat", prompt_as="text")
    check_against_truth(found)
    assert found.only.output_tokens == 2


def test_chunks_without_text_hold_tokens_where_the_server_says_so() -> None:
    chunks = (Chunk(0.001, 1), Chunk(0.001, 1, ""), Chunk(0.001, 0, ""), Chunk(0.001, 2))
    found = exchange(Script(chunks))
    assert list(found.only.chunk_tokens) == [1, 1, 2]


def test_events_in_one_write_have_one_time() -> None:
    chunks = (Chunk(0.001, 1), Chunk(0, 1), Chunk(0, 1), Chunk(0.02, 1))
    found = exchange(Script(chunks))
    check_against_truth(found)
    assert len(set(found.only.chunk_times_s)) == 2


def test_what_is_sent_is_the_plan() -> None:
    plan = Plan(tuple(PlannedRequest(i, None, (i, 7, 9), i + 1) for i in range(3)), 3)
    found = exchange(Rule(0.001, 0.001).script, plan, server="vllm", extra={"top_k": 1})
    assert sorted(body["prompt"] for body in found.bodies) == [[0, 7, 9], [1, 7, 9], [2, 7, 9]]
    for body in found.bodies:
        assert body["max_tokens"] == body["min_tokens"] == body["prompt"][0] + 1
        assert (body["ignore_eos"], body["temperature"], body["top_k"]) == (True, 0.0, 1)
        assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
        assert body["cache_salt"] == "salt"


def test_each_request_can_be_kept_from_the_prefix_cache() -> None:
    script = script_of([1])
    found = exchange(script, plan_of(3, tokens=1), server="vllm", prefix_cache="off")
    assert len({body["cache_salt"] for body in found.bodies}) == 3
    (body,) = exchange(script, server="llama.cpp").bodies
    assert body["cache_prompt"] is False
    (body,) = exchange(script, server="llama.cpp", prefix_cache="server").bodies
    assert "cache_prompt" not in body


FAULTS: list[tuple[Script, str, int]] = [
    (Script(plain=Plain(429, body=b"slow down")), "http_429", 0),
    (Script(plain=Plain(500, body=b"oops")), "http_500", 0),
    (Script(plain=Plain(200, "text/html", b"<html>")), Label.NOT_STREAMING, 0),
    (Script(plain=Plain(200, body=b'{"choices": []}')), Label.NOT_STREAMING, 0),
    (Script(plain=Plain(raw=b"SSH-2.0-OpenSSH_9.2\r\n")), Label.NOT_HTTP, 0),
    (Script(plain=Plain(raw=b"")), Label.CONNECT, 0),
    (script_of([1, 2], ending=Ending.CLOSE), Label.STREAM_ENDED, 3),
    (script_of([1, 2], ending=Ending.NO_DONE), Label.STREAM_ENDED, 3),
    (script_of([1, 2], ending=Ending.HANG), Label.TIMEOUT_CHUNK, 3),
    (script_of([1, 2], ending=Ending.COMMENTS), Label.TIMEOUT_CHUNK, 3),
    (script_of([], ending=Ending.COMMENTS), Label.TIMEOUT_FIRST_TOKEN, 0),
    (script_of([1, 2], error_event="out of memory"), Label.SERVER_ERROR, 3),
    (
        Script((Chunk(0.001, 1), Chunk(0.001, 0, raw=b"data: {nonsense\n\n"))),
        Label.MALFORMED_SSE,
        1,
    ),
    (Script((Chunk(0.001, 1), Chunk(0.001, 0, raw=b"data: [1]\n\n"))), Label.MALFORMED_SSE, 1),
    (
        Script((Chunk(0.001, 1), Chunk(0.001, 0, raw=b"<html>\n\n")), ending=Ending.NO_DONE),
        Label.STREAM_ENDED,
        1,
    ),
    (Script((Chunk(0.001, 0, raw=b'data: {"choices": 3}\n\n'),)), Label.MALFORMED_SSE, 0),
    (script_of([1, 2], completion_error=-1), Label.BAD_USAGE, 3),
    (script_of([1, 2], completion_error=1), Label.BAD_USAGE, 3),
    (script_of([1, 1], completion_error=-2, counting=Counting.FINAL), Label.BAD_USAGE, 2),
    (script_of([1, 1], counting=Counting.NONE), Label.NO_USAGE, 2),
    (script_of([]), Label.NO_TOKENS, 0),
    (Script(headers_after_s=None), Label.TIMEOUT_FIRST_TOKEN, 0),
    (script_of([1], headers_after_s=60.0), Label.TIMEOUT_FIRST_TOKEN, 0),
]


@pytest.mark.parametrize(("bad", "label", "kept"), FAULTS, ids=[str(one[1]) for one in FAULTS])
def test_what_goes_wrong_is_counted_and_the_run_goes_on(bad: Script, label: str, kept: int) -> None:
    """Every third request fails; the others are measured, and so is what the third had."""

    def scripted(_: Mapping[str, Any], name: str) -> Script:
        return bad if int(name[1:]) % 3 == 1 else script_of([1, 2])

    found = exchange(scripted, plan_of(6, concurrency=2), timeouts=SHORT)
    assert [record.index for record in found.sent.records] == list(range(6))
    for record in found.sent.records:
        if record.index % 3 == 1:
            assert (record.status, record.error) == (RequestStatus.FAILED, label), record.detail
            assert record.detail
            assert record.output_tokens == kept
        else:
            assert (record.status, record.output_tokens) == (RequestStatus.OK, 3)


def test_slow_headers_and_stalls_are_no_errors_within_the_limits() -> None:
    rule = Rule(0.005, 0.002, stall_s=0.1)
    for fault in (Fault.STALL, Fault.SLOW_HEADERS):
        found = exchange(rule.changed_by({"fault": fault}).script, timeouts=SHORT)
        check_against_truth(found)


def test_comments_between_chunks_are_no_error() -> None:
    comment = Chunk(0.001, 0, raw=b": keep-alive\n\n")
    check_against_truth(
        exchange(Script((Chunk(0.001), comment, comment, Chunk(0.01))), plan_of(tokens=2))
    )


def test_a_server_that_only_keeps_the_connection_alive_has_stalled() -> None:
    rule = Rule(0.005, 0.002).changed_by({"fault": Fault.COMMENTS})
    record = exchange(rule.script, plan_of(tokens=4), timeouts=Timeouts(chunk_s=0.3)).only
    assert (record.error, record.output_tokens) == (Label.TIMEOUT_CHUNK, 2)


def test_a_request_may_not_go_on_for_ever() -> None:
    endless = Script(tuple(Chunk(0.02) for _ in range(1000)))
    limits = Timeouts(connect_s=5, first_token_s=5, chunk_s=5, total_s=1.0)
    record = exchange(endless, plan_of(tokens=1000), timeouts=limits).only
    assert (record.error, record.detail) == (Label.TIMEOUT_TOTAL, "no end within 1 s")
    assert 0 < record.output_tokens < 1000


def test_a_refusal_whose_body_does_not_end_is_counted_by_its_status() -> None:
    def refuse(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer, suppress(ConnectionError):
            peer.recv(2**16)
            peer.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nno")
            while peer.recv(2**16):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=refuse, args=(server,), daemon=True)
        thread.start()
        config = ClientConfig(Url(*server.getsockname()), timeouts=Timeouts(first_token_s=0.2))
        (record,) = send_all(config, plan_of()).records
        thread.join(5)
    assert (record.error, record.detail) == ("http_503", "the server answered 503: no")


def test_nobody_listening_is_counted() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    sent = send_all(ClientConfig(Url("127.0.0.1", port)), plan_of(3))
    assert [record.error for record in sent.records] == [Label.CONNECT] * 3
    assert not sent.interrupted


def test_a_server_that_never_accepts_is_given_up() -> None:
    """A full backlog: the system answers for nobody."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        config = ClientConfig(
            Url(*server.getsockname()), timeouts=Timeouts(connect_s=0.3, first_token_s=0.6)
        )
        sent = send_all(config, plan_of())
    assert sent.records[0].error in (Label.TIMEOUT_CONNECT, Label.TIMEOUT_FIRST_TOKEN)


def test_enough_errors_end_the_run() -> None:
    found = exchange(Script(plain=Plain(500)), plan_of(20, concurrency=1), max_errors=3)
    assert len(found.sent.records) == 3
    assert found.sent.interrupted
    assert "3 failed requests" in found.sent.failure


def test_what_was_measured_survives_a_stop() -> None:
    script = Script((Chunk(0.001, 2), Chunk(60.0, 1)))
    found = exchange(script, plan_of(3, concurrency=2), stop_at_chunks=2)
    assert [record.status for record in found.sent.records] == [RequestStatus.UNFINISHED] * 2
    assert [record.output_tokens for record in found.sent.records] == [2, 2]
    assert found.sent.interrupted
    assert not found.sent.failure


def test_connections_are_kept_or_not_as_asked() -> None:
    script, plan = script_of([1, 1]), plan_of(12, tokens=2, concurrency=2)
    assert exchange(script, plan, connections="pool").connections == 2
    assert exchange(script, plan, connections="fresh").connections == 12


def test_a_kept_connection_that_the_server_closed_is_no_error() -> None:
    """Closed between two requests, as servers do with those they think idle: sent once more."""
    seen: list[str] = []

    def scripted(_: Mapping[str, Any], name: str) -> Script:
        seen.append(name)
        if name == "r1" and seen.count(name) == 1:
            return Script(plain=Plain(raw=b""))
        return script_of([1, 1])

    found = exchange(scripted, plan_of(3, tokens=2, concurrency=1))
    assert [record.status for record in found.sent.records] == [RequestStatus.OK] * 3
    assert seen == ["r0", "r1", "r1", "r2"]


def test_latency_counts_from_when_a_request_was_due() -> None:
    """One slot, and a request each 10 ms to a server that takes 50: the wait is in the latency."""
    plan = plan_of(6, tokens=2, due_s=0.01, concurrency=1)
    found = exchange(Script((Chunk(0.05), Chunk(0.001))), plan)
    records = found.sent.records
    assert [record.t_due_s for record in records] == [one.t_due_s for one in plan.requests]
    for before, after in pairwise(records):
        assert before.t_end_s is not None
        assert after.t_send_s >= before.t_end_s


def test_later_turns_wait_for_the_turn_before() -> None:
    first = PlannedRequest(0, 0.0, (1, 2), 2)
    second = PlannedRequest(1, None, (1, 2, 3), 2, after=0, think_s=0.05)
    found = exchange(script_of([1, 1]), Plan((first, second), None))
    before, after = found.sent.records
    assert before.t_end_s is not None
    assert after.t_due_s >= before.t_end_s + 0.05
    check_against_truth(found)


def test_a_slot_is_free_when_the_server_hangs_up_and_not_when_it_last_spoke() -> None:
    """The next request of a closed loop is due then; due earlier, it would carry the silence of
    the one before as its own latency."""

    def scripted(_: Mapping[str, Any], name: str) -> Script:
        silent = Script(plain=Plain(raw=b""), headers_after_s=0.15)
        return silent if name == "r0" else script_of([1, 1])

    first, second = exchange(scripted, plan_of(2, tokens=2, concurrency=1)).sent.records
    assert first.error == Label.CONNECT
    assert second.t_due_s >= first.t_send_s + 0.15


def test_requests_that_run_late_together_end_the_run_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The second of them ends the run; the third has ended with it."""
    limits = Timeouts(connect_s=5, first_token_s=0.2, chunk_s=5, total_s=5)
    found = exchange(Script(headers_after_s=None), plan_of(3), timeouts=limits, max_errors=2)
    statuses = [record.status for record in found.sent.records]
    assert statuses.count(RequestStatus.FAILED) == 2
    assert statuses.count(RequestStatus.UNFINISHED) == 1
    assert not caplog.records


def test_a_failure_of_the_client_itself_ends_the_run_and_keeps_what_was_measured() -> None:
    """Progress that cannot be told, for one: nobody would look for timeouts any more."""
    looks = iter(range(1000))

    def broken(_: Progress) -> None:
        if next(looks) >= 2:
            raise BrokenPipeError("nobody listens")

    found = exchange(script_of([1, 2], ending=Ending.HANG), on_progress=broken)
    assert found.sent.failure == "the client itself failed: nobody listens"
    assert found.only.status is RequestStatus.UNFINISHED
    assert found.only.output_tokens == 3
