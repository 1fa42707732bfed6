"""What a reply's events add up to."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from llmbench.harness.client.errors import Label, RequestFailedError
from llmbench.harness.client.reply import Reply, most_tokens


def text(content: str = "a", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": content}], **more}


def usage(completion: int | None, prompt: int | None = 3) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def replied(*events: dict[str, Any]) -> Reply:
    reply = Reply()
    for at, event in enumerate(events):
        reply.note(event, float(at))
    reply.settle()
    return reply


@pytest.mark.parametrize("seed", [random.randrange(2**32)], ids=["fresh"])
def test_a_total_is_spread_over_the_chunks_and_kept(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(50):
        chunks = draw.randint(1, 30)
        tokens = chunks + draw.randint(0, 50)
        reply = replied(*(text() for _ in range(chunks)), {"choices": [], **usage(tokens)})
        assert sum(reply.chunk_tokens) == tokens == len(reply.token_times_s())
        assert min(reply.chunk_tokens) >= 1
        assert max(reply.chunk_tokens) - min(reply.chunk_tokens) <= 1
        assert reply.counted == ("usage" if tokens == chunks else "total")


def test_a_token_in_two_deltas_is_one_token() -> None:
    """The last of a thought and the first of the answer, say, came of one token: four deltas have
    text, three tokens were produced."""
    deltas = [{"reasoning_content": "a"}, {"reasoning_content": "b"}, {"content": "c"}]
    events = [{"choices": [{"delta": one}]} for one in (*deltas, {"content": "d"})]
    reply = replied(*events, {"choices": [], **usage(3)})
    assert reply.counted == "split"
    assert list(reply.chunk_tokens) == [1, 1, 1]
    assert list(reply.token_times_s()) == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("seed", [random.randrange(2**32)], ids=["fresh"])
def test_fewer_tokens_than_chunks_keep_the_first_and_the_last_time(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(50):
        tokens = draw.randint(1, 20)
        chunks = draw.randint(tokens + 1, 16 * tokens)
        reply = replied(*(text() for _ in range(chunks)), {"choices": [], **usage(tokens)})
        times_s = list(reply.token_times_s())
        assert len(times_s) == tokens == len(set(times_s))
        assert times_s == sorted(times_s)
        assert times_s[0] == 0.0
        assert times_s[-1] == (chunks - 1 if tokens > 1 else 0.0)
        # Evenly: no two gaps differ by more than a chunk.
        gaps = [after - before for before, after in pairwise(times_s)]
        assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_text_after_the_last_count_is_of_tokens_that_were_counted() -> None:
    reply = replied(text(**usage(1)), text(**usage(2)), text(), {"choices": [], **usage(2)})
    assert list(reply.token_times_s()) == [0.0, 1.0]


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"reasoning_content": "a"},
        {"reasoning": "a"},
        {"refusal": "a"},
        {"content": None, "tool_calls": [{"function": {"arguments": "a"}}]},
        {"content": None, "function_call": {"arguments": "a"}},
    ],
)
def test_whatever_a_chat_brings_is_a_chunk(delta: dict[str, Any]) -> None:
    role = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
    reply = replied(role, {"choices": [{"delta": delta}]}, {"choices": [], **usage(1)})
    assert list(reply.chunk_times_s) == [1.0]


def test_an_empty_text_hides_no_delta() -> None:
    """Some gateways send both, and a thought only in the delta."""
    thought = {"choices": [{"text": "", "delta": {"content": "", "reasoning": "a"}}]}
    answer = {"choices": [{"text": "b", "delta": {"content": "b"}}]}
    reply = replied(thought, thought, answer, {"choices": [], **usage(3)})
    assert list(reply.token_times_s()) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("told", ["beside all", "beside the first"])
@pytest.mark.parametrize(("tokens", "each", "counted"), [(4, 1, "usage"), (8, 2, "total")])
def test_a_count_ahead_of_its_text_is_spread_over_it(
    told: str, tokens: int, each: int, counted: str
) -> None:
    again = usage(tokens) if told == "beside all" else {}
    reply = replied(text(**usage(tokens)), *(text(**again) for _ in range(3)))
    assert list(reply.chunk_times_s) == [0.0, 1.0, 2.0, 3.0]
    assert list(reply.chunk_tokens) == [each] * 4
    assert reply.counted == counted


def test_a_count_of_0_beside_text_is_behind_it() -> None:
    end = {"choices": [], **usage(3)}
    assert list(replied(*(text(**usage(0)) for _ in range(3)), end).token_times_s()) == [0, 1, 2]
    lags = replied(text(**usage(0)), text(**usage(1)), text(**usage(2)), end)
    assert list(lags.token_times_s()) == [0, 1, 2]


def test_a_token_in_two_chunks_with_one_count_came_with_the_first() -> None:
    reply = replied(text(**usage(1)), text(**usage(2)), text(**usage(2)), text(**usage(3)))
    assert list(reply.token_times_s()) == [0.0, 1.0, 3.0]
    assert reply.counted == "usage"


def test_what_breaks_off_keeps_only_chunks_with_tokens() -> None:
    reply = Reply()
    for at, event in enumerate((text(**usage(1)), text(**usage(1)), text())):
        reply.note(event, float(at))
    reply.cut_short()
    assert list(reply.chunk_times_s) == [0.0, 2.0]
    assert list(reply.chunk_tokens) == [1, 1]


@pytest.mark.parametrize("seed", [random.randrange(2**32)], ids=["fresh"])
def test_a_count_is_of_all_chunks_since_the_last(seed: int) -> None:
    """DeepSeek and Mistral say the total beside the `finish_reason`, in an event without text or
    with the last of it, and not in one of its own; a server may count now and then, too."""
    draw = random.Random(seed)
    for _ in range(200):
        events: list[dict[str, Any]] = []
        produced = 0
        for place in range(chunks := draw.randint(1, 12)):
            produced += draw.randint(1, 3)
            counts = draw.random() < 0.3 or place == chunks - 1
            events.append(text(**usage(produced)) if counts else text())
        if draw.random() < 0.5:
            events[-1] = text()
            events.append({"choices": [{"text": "", "finish_reason": "length"}], **usage(produced)})
        if draw.random() < 0.5:
            events.append({"choices": [], **usage(produced)})
        reply = replied(*events)
        assert sum(reply.chunk_tokens) == produced
        assert len(reply.chunk_times_s) == chunks
        assert min(reply.chunk_tokens) >= 1


def test_an_error_that_is_null_is_none() -> None:
    assert list(replied(text(error=None, **usage(1))).chunk_tokens) == [1]


@pytest.mark.parametrize("say", ["usage", "timings"])
def test_nobody_is_believed_many_times_what_was_asked(say: str) -> None:
    """Its times would fill the memory, and making them hold up every other reply."""
    reply = Reply(most_tokens(asked_tokens=16))
    lie: dict[str, Any] = usage(10**6) if say == "usage" else {"timings": {"predicted_n": 10**6}}
    with pytest.raises(RequestFailedError) as error:
        reply.note(text(**lie), 0.0)
    assert error.value.label == Label.BAD_USAGE


def test_null_usage_in_chunks_is_no_count() -> None:
    """OpenAI's own: every chunk has the field, and all but the last have null in it."""
    reply = replied(text(usage=None), text(usage=None), {"choices": [], **usage(2)})
    assert list(reply.chunk_tokens) == [1, 1]


def test_a_reply_that_is_the_end_of_text_alone_came_when_that_was_said() -> None:
    end = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    reply = replied(text(""), end, {"choices": [], **usage(1)})
    assert list(reply.token_times_s()) == [1.0]
    assert reply.finish_reason == "stop"
    with pytest.raises(RequestFailedError, match="usage says 2 tokens"):
        replied(text(""), end, {"choices": [], **usage(2)})


def thought(tokens: int, thoughts: int, total: int | None = None) -> dict[str, Any]:
    """total: of prompt and reply, as the server says."""
    told: dict[str, Any] = {
        "prompt_tokens": 3,
        "completion_tokens": tokens,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }
    return {"choices": [], "usage": told if total is None else {**told, "total_tokens": total}}


def test_thoughts_that_were_not_sent_came_before_the_first_text() -> None:
    reply = replied(text(), text(), text(), thought(9, 6, total=12))
    assert reply.hidden_tokens == 6
    assert list(reply.chunk_tokens) == [7, 1, 1]
    assert reply.counted == "total"
    told = replied(text(**usage(7)), text(**usage(8)), thought(8, 6))
    assert (told.hidden_tokens, list(told.chunk_tokens)) == (6, [7, 1])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_that_were_sent_are_not_hidden(field: str) -> None:
    aloud = {"choices": [{"delta": {field: "a"}}]}
    reply = replied(aloud, text(), thought(9, 6))
    assert (reply.hidden_tokens, list(reply.chunk_tokens)) == (0, [4, 5])
    # Thoughts in the text itself: the rest of the tokens is too few for its chunks.
    assert replied(*(text() for _ in range(4)), thought(9, 6)).hidden_tokens == 0
    assert replied(*(text(**usage(at)) for at in (1, 2, 8)), thought(8, 6)).hidden_tokens == 0


def test_thoughts_may_be_counted_beside_the_reply() -> None:
    assert replied(text(), text(), thought(9, 6, total=3 + 9 + 6)).hidden_tokens == 0


def test_thoughts_alone_are_no_reply() -> None:
    with pytest.raises(RequestFailedError, match="no text came of 8 tokens, 8 of them") as error:
        replied(text("", finish_reason="length"), thought(8, 8))
    assert error.value.label == Label.NO_TOKENS


def test_cached_tokens_are_kept() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2}}
    last = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, **details}}
    assert replied(text(), last).usage.cached_tokens == 2


@pytest.mark.parametrize(
    ("events", "label"),
    [
        ([text(**usage(2)), text(**usage(1))], Label.BAD_USAGE),
        ([text(timings={"predicted_n": 2}), text(timings={"predicted_n": 1})], Label.BAD_USAGE),
        ([text(timings={"predicted_n": 2}), {"choices": [], **usage(3)}], Label.BAD_USAGE),
        ([{"choices": [{"text": "a", "token_ids": [1, 2]}], **usage(3)}], Label.BAD_USAGE),
        ([text(), text(), {"choices": [], **usage(0)}], Label.BAD_USAGE),
        ([text() for _ in range(40)] + [{"choices": [], **usage(2)}], Label.BAD_USAGE),
        ([text(**usage(2)), text(), {"choices": [], **usage(1)}], Label.BAD_USAGE),
        # Counts of each chunk by itself, which never rise.
        ([text(**usage(1)) for _ in range(8)], Label.BAD_USAGE),
        ([text(**usage(2)) for _ in range(8)], Label.BAD_USAGE),
        ([text(**usage(1)) for _ in range(8)] + [{"choices": [], **usage(8)}], Label.BAD_USAGE),
        ([text(**usage(7.9))], Label.BAD_USAGE),  # pyright: ignore[reportArgumentType]
        ([text(**usage(True))], Label.BAD_USAGE),
        ([text(timings={"predicted_n": 1.5}, **usage(None))], Label.BAD_USAGE),
        ([text(**usage(-1))], Label.BAD_USAGE),
        ([text(**usage(10**12))], Label.BAD_USAGE),
        ([text(timings={"predicted_n": 10**12})], Label.BAD_USAGE),
        ([text(**usage(1, -3))], Label.BAD_USAGE),
        ([text(**usage(1, 10**12))], Label.BAD_USAGE),
        ([text(usage={"prompt_tokens_details": {"cached_tokens": -1}})], Label.BAD_USAGE),
        ([text(usage={"prompt_tokens": float("inf")})], Label.MALFORMED_SSE),
        ([{"choices": [{"token_ids": [10**30]}]}], Label.MALFORMED_SSE),
        ([text()], Label.NO_USAGE),
        ([text(**usage(1, None))], Label.NO_USAGE),
        ([{"choices": [], **usage(0)}], Label.NO_TOKENS),
        ([{"error": "x"}], Label.SERVER_ERROR),
        ([{"object": "error", "message": "x"}], Label.SERVER_ERROR),
        ([{"choices": [{"delta": {}, "finish_reason": "error"}]}], Label.SERVER_ERROR),
        ([{"choices": [3]}], Label.MALFORMED_SSE),
        ([{"choices": [{}], "usage": 3}], Label.MALFORMED_SSE),
        ([text(**usage("many"))], Label.MALFORMED_SSE),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_does_not_add_up_is_said(events: list[dict[str, Any]], label: str) -> None:
    with pytest.raises(RequestFailedError) as error:
        replied(*events)
    assert error.value.label == label
