"""A peer's job, sent to a server that streams what real ones do. How bytes become counts and times
is tested with the load client itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from llmbench.harness.client.config import Url, parse_url
from llmbench.harness.client.servers import SERVERS
from llmbench.harness.mock.script import Chunk, Counting, Ending, Plain, Script
from llmbench.harness.mock.server import MockServer, Scripted
from llmbench.harness.peers.base import PeerError
from llmbench.harness.peers.client import complete
from llmbench.harness.peers.figures import RequestTimes
from llmbench.harness.peers.workload import Figure, Job

from ..mock.in_thread import in_thread

JOB = Job(Figure.OUTPUT, ((7, 8, 9), (1, 2, 3)), 4)


def streamed(*tokens: int, **more: Any) -> Script:
    return Script(tuple(Chunk(0.001, held) for held in tokens), **more)


def completed(
    scripted: Scripted | Script, extra: dict[str, Any] | None = None
) -> tuple[tuple[RequestTimes, ...], list[Mapping[str, Any]]]:
    def always(_body: Mapping[str, Any], _name: str) -> Script:
        assert isinstance(scripted, Script)
        return scripted

    mock = MockServer(always if isinstance(scripted, Script) else scripted, keep_bodies=True)
    with in_thread(mock) as url:
        times = complete(parse_url(url), JOB, SERVERS["llama.cpp"], extra or {})
    return times, mock.bodies


def test_token_ids_and_lengths_are_sent_as_asked() -> None:
    times, seen = completed(streamed(1, 1, 1, 1), {"top_k": 1})
    assert sorted(body["prompt"] for body in seen) == [[1, 2, 3], [7, 8, 9]]
    for body in seen:
        assert (body["max_tokens"], body["temperature"], body["top_k"]) == (4, 0.0, 1)
        assert body["stream"]
        assert body["ignore_eos"]
        assert body["timings_per_token"]
        assert body["cache_prompt"] is False
    for one in times:
        assert one.prompt_tokens == 3
        assert len(one.token_times_s) == 4
        assert one.sent_s < one.token_times_s[0]
        assert list(one.token_times_s) == sorted(one.token_times_s)


def test_no_two_jobs_have_requests_of_one_name() -> None:
    mock = MockServer(lambda _body, _name: streamed(1, 1, 1, 1))
    with in_thread(mock) as url:
        for _ in range(2):
            complete(parse_url(url), JOB, SERVERS["llama.cpp"], {})
    assert len({one.request_id for one in mock.log}) == len(mock.log) == 4


def test_answers_stand_in_the_prompts_order() -> None:
    def scripted(body: Mapping[str, Any], _name: str) -> Script:
        return streamed(1, prompt_tokens=body["prompt"][0])

    times, _ = completed(scripted)
    assert [one.prompt_tokens for one in times] == [7, 1]


def test_tokens_that_a_server_held_back_are_counted() -> None:
    """llama.cpp waits for the rest of a character; its timings say how many tokens there are."""
    (first, _), _ = completed(streamed(1, 2, 1, counting=Counting.TIMINGS))
    assert len(first.token_times_s) == 4
    assert first.token_times_s[1] == first.token_times_s[2]


def test_a_body_without_chunks_is_read_to_its_end() -> None:
    usage = b'"usage": {"prompt_tokens": 3, "completion_tokens": %d}'
    event = b'data: {"choices": [{"text": "a"}], ' + usage + b"}\n\n"
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    stream = b"".join([*(event % n for n in range(1, 5)), b"data: [DONE]\n\n"])
    times, _ = completed(Script(plain=Plain(raw=head + stream)))
    assert [len(one.token_times_s) for one in times] == [4, 4]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Script(plain=Plain(400, body=b'{"error": "too long"}')), "400.*too long"),
        (streamed(1, ending=Ending.NO_DONE), "broke off"),
        (streamed(1, ending=Ending.CLOSE), "broke off"),
        (streamed(1, error_event="out of memory"), "out of memory"),
        (Script((Chunk(0, 0, raw=b'error: {"message": "out of memory"}\n\n'),)), "out of memory"),
        (streamed(1, counting=Counting.NONE), "does not say how many prompt tokens"),
        (Script((Chunk(0, 0, raw=b"data: {nonsense\n\n"),)), "Expecting property name"),
        (Script(plain=Plain(raw=b"")), "without an answer"),
    ],
)
def test_trouble_is_a_peer_error(reply: Script, said: str) -> None:
    with pytest.raises(PeerError, match=said):
        completed(reply)


def test_nobody_listening_is_a_peer_error() -> None:
    with in_thread(MockServer()) as url:
        pass
    address = parse_url(url)
    with pytest.raises(PeerError, match=str(address.port)):
        complete(Url(address.host, address.port), JOB, SERVERS["llama.cpp"], {})
