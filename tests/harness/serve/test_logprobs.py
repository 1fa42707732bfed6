"""Log-probabilities as replies show them: which token, and where in the text it begins."""

from __future__ import annotations

import pytest
from llmbench.engines.api import TokenLogprobs

from .servers import ScriptedExecutor, served

COMPLETIONS = "/v1/completions"


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
