"""Log-probabilities as replies show them: which token, and where in the text it begins."""

from __future__ import annotations

import pytest
from llmbench.engines.api import TokenLogprobs

from .byte_fallback import byte_fallback, word
from .servers import ScriptedExecutor, served

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@pytest.mark.parametrize("streamed", [False, True])
def test_offsets_count_characters_that_are_held_back(streamed: bool) -> None:
    """Known wrong: all that may begin a stop string seemed to begin where it does."""
    text = "5 € for lo, an"
    executor = ScriptedExecutor(text.encode(), logprobs=TokenLogprobs(-1.0, 1))
    asked = {"prompt": "x", "max_tokens": len(text.encode()), "logprobs": 0, "stop": ["for lo, x"]}
    with served(executor) as server:
        replies = (
            server.events(COMPLETIONS, asked) if streamed else [server.post(COMPLETIONS, asked)[1]]
        )
    offsets: list[int] = []
    for reply in replies:
        offsets += reply["choices"][0]["logprobs"]["text_offset"]
    # Of a character's bytes each is where the character is.
    expected = [at for at, one in enumerate(text) for _ in one.encode()]
    assert offsets == expected


@pytest.mark.parametrize(
    ("top", "shown"),
    [
        ((), {"c": -3.0}),
        (((97, -0.1), (98, -2.5)), {"a": -0.1, "b": -2.5, "c": -3.0}),
        (((97, -0.1), (99, -3.0)), {"a": -0.1, "c": -3.0}),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_the_sampled_token_is_among_a_completions_likeliest(
    streamed: bool, top: tuple[tuple[int, float], ...], shown: dict[str, float]
) -> None:
    """Known wrong here: it was left out where it was none of them, and all with logprobs: 0."""
    executor = ScriptedExecutor(b"c", logprobs=TokenLogprobs(-3.0, 3, top))
    asked = {"prompt": "x", "max_tokens": 1, "logprobs": len(top)}
    with served(executor) as server:
        (reply,) = (
            server.events(COMPLETIONS, asked) if streamed else [server.post(COMPLETIONS, asked)[1]]
        )
    assert reply["choices"][0]["logprobs"]["top_logprobs"] == [shown]


def test_tokens_that_differ_in_the_space_before_them_are_told_apart() -> None:
    """Known wrong: " the" and "the" were one key, and the likelier hid the other."""
    spaced, bare = word(" the"), word("the")
    rivals = TokenLogprobs(-0.1, 1, ((spaced, -0.1), (bare, -2.5)))
    executor = ScriptedExecutor(bytes([spaced, bare]), logprobs=rivals)
    messages = [{"role": "user", "content": "x"}]
    with served(executor, tokenizer=byte_fallback(), render=lambda _: "a") as server:
        asked = {"prompt": "a", "max_tokens": 2, "logprobs": 2}
        completion = server.post(COMPLETIONS, asked)[1]["choices"][0]
        asked = {"messages": messages, "max_tokens": 2, "logprobs": True, "top_logprobs": 2}
        chat = server.post(CHAT, asked)[1]["choices"][0]
    # A text's first space is no token's but the tokenizer's.
    assert completion["text"] == "thethe"
    assert completion["logprobs"]["tokens"] == [" the", "the"]
    assert completion["logprobs"]["top_logprobs"] == [{" the": -0.1, "the": -2.5}] * 2
    assert [one["token"] for one in chat["logprobs"]["content"]] == [" the", "the"]
    for one in chat["logprobs"]["content"]:
        assert [rival["token"] for rival in one["top_logprobs"]] == [" the", "the"]
        assert [bytes(rival["bytes"]) for rival in one["top_logprobs"]] == [b" the", b"the"]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_bytes_of_a_chats_tokens_join_to_its_characters(streamed: bool) -> None:
    """Known wrong here: a part of a character had the bytes of U+FFFD."""
    rivals = TokenLogprobs(-0.1, 1, ((0x82, -0.1),))
    asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "logprobs": True}
    executor = ScriptedExecutor("€".encode(), logprobs=rivals)
    with served(executor, render=lambda _: "a") as server:
        replies = server.events(CHAT, asked) if streamed else [server.post(CHAT, asked)[1]]
    shown = [one for reply in replies for one in reply["choices"][0]["logprobs"]["content"]]
    assert [one["bytes"] for one in shown] == [[byte] for byte in "€".encode()]
    assert [one["top_logprobs"][0]["bytes"] for one in shown] == [[0x82]] * 3
