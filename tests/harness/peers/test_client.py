"""The streaming client against a server that streams what real ones do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llmbench.harness.peers.base import PeerError
from llmbench.harness.peers.client import Address, complete, produced
from llmbench.harness.peers.workload import Figure, Job

from .mock_server import HEAD, chunk, event, serving

JOB = Job(Figure.OUTPUT, ((7, 8, 9), (1, 2, 3)), 4)
END = chunk(event("[DONE]")) + b"0\r\n\r\n"


def token(**more: Any) -> bytes:
    return event({"choices": [{"text": "a"}], **more})


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def test_token_ids_and_lengths_are_sent_as_asked() -> None:
    reply = [HEAD, *(chunk(token(**usage(3, n))) for n in range(1, 5)), END]
    with serving(lambda _: reply) as (address, seen):
        times = complete(address, JOB, {"ignore_eos": True})
    assert sorted(body["prompt"] for body in seen) == [[1, 2, 3], [7, 8, 9]]
    for body in seen:
        assert (body["max_tokens"], body["temperature"]) == (4, 0.0)
        assert body["stream"]
        assert body["ignore_eos"]
    for one in times:
        assert one.prompt_tokens == 3
        assert len(one.token_times_s) == 4
        assert one.sent_s < one.token_times_s[0]
        assert list(one.token_times_s) == sorted(one.token_times_s)


def test_answers_stand_in_the_prompts_order() -> None:
    def reply(body: dict[str, Any]) -> list[bytes]:
        return [HEAD, chunk(token(**usage(body["prompt"][0], 1))), END]

    with serving(reply) as (address, _):
        times = complete(address, JOB, {})
    assert [one.prompt_tokens for one in times] == [7, 1]


def test_tokens_that_a_server_held_back_are_counted() -> None:
    """llama.cpp waits for the rest of a character; its timings say how many tokens there are."""
    parts = [token(timings={"predicted_n": n}) for n in (1, 3, 4)]
    last = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    reply = [HEAD, *map(chunk, parts), chunk(last), END]
    with serving(lambda _: reply) as (address, _):
        first, _ = complete(address, JOB, {})
    assert len(first.token_times_s) == 4
    assert first.token_times_s[1] == first.token_times_s[2]


def test_a_server_that_counts_nothing_sends_a_token_an_event() -> None:
    parts = [*(token() for _ in range(4)), event({"choices": [], "usage": {"prompt_tokens": 3}})]
    with serving(lambda _: [HEAD, *map(chunk, parts), END]) as (address, _):
        times = complete(address, JOB, {})
    assert [len(one.token_times_s) for one in times] == [4, 4]


def test_events_may_be_cut_anywhere() -> None:
    stream = b"".join([*(token(**usage(3, n)) for n in range(1, 5)), event("[DONE]")])
    cut = len(stream) // 3
    reply = [HEAD, chunk(stream[:cut]), chunk(stream[cut : cut + 1]), chunk(stream[cut + 1 :])]
    with serving(lambda _: [*reply, b"0\r\n\r\n"]) as (address, _):
        times = complete(address, JOB, {})
    assert [len(one.token_times_s) for one in times] == [4, 4]


def test_a_body_without_chunks_is_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    stream = b"".join([*(token(**usage(3, n)) for n in range(1, 5)), event("[DONE]")])
    with serving(lambda _: [head, stream]) as (address, _):
        times = complete(address, JOB, {})
    assert [len(one.token_times_s) for one in times] == [4, 4]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"error": "too long"}'], "400.*too long"),
        ([HEAD, chunk(token(**usage(3, 1))), b"0\r\n\r\n"], "broke off"),
        ([HEAD, chunk(token(**usage(3, 1)))], "invalid literal"),
        ([HEAD, chunk(event({"error": {"message": "out of memory"}})), END], "out of memory"),
        ([HEAD, chunk(b'error: {"message": "out of memory"}\n\n'), END], "out of memory"),
        ([HEAD, chunk(token()), END], "does not say how many prompt tokens"),
        ([HEAD, chunk(event("{nonsense")), END], "Expecting property name"),
        ([b""], "without an answer"),
    ],
)
def test_trouble_is_a_peer_error(reply: list[bytes], said: str) -> None:
    with serving(lambda _: reply) as (address, _), pytest.raises(PeerError, match=said):
        complete(address, JOB, {})


def test_nobody_listening_is_a_peer_error() -> None:
    with serving(lambda _: []) as (address, _):
        pass
    with pytest.raises(PeerError, match=str(address.port)):
        complete(Address(address.host, address.port), JOB, {})


@pytest.mark.parametrize(
    ("data", "before", "after"),
    [
        ({"choices": [{}], "usage": {"completion_tokens": 5}}, 4, 5),
        ({"choices": [{}], "timings": {"predicted_n": 6}}, 4, 6),
        ({"choices": [{}]}, 4, 5),
        ({"choices": [], "usage": {"prompt_tokens": 3}}, 4, 4),
        ({"choices": [{}], "usage": None}, 0, 1),
    ],
)
def test_what_an_event_says_it_produced(data: dict[str, Any], before: int, after: int) -> None:
    assert produced(json.loads(json.dumps(data)), before) == after
