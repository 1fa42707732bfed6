"""Replies as OpenAI's clients read them: https://platform.openai.com/docs/api-reference.

A stream has one event for each token, also for one whose text is held back: whoever measures gaps
between tokens sees each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from .asked import Asked, as_json
from .choices import Joined, Part, Scored
from .spelling import Spelling

DONE = b"data: [DONE]\n\n"


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


Usage = dict[str, Any]
"""Token counts, as `Asked.usage` makes them."""


def chunk(asked: Asked, part: Part, spelt: Spelling, usage: Usage | None = None) -> bytes:
    """The event of one token. usage: of the whole reply so far, where each event has it."""
    choice: dict[str, Any] = {"index": part.choice}
    scored = [part.scored] if part.scored is not None else []
    if asked.is_chat:
        role = {"role": "assistant"} if part.first else {}
        choice["delta"] = {**role, "content": part.text}
        choice["logprobs"] = _chat_logprobs(scored, spelt) if asked.with_logprobs else None
    else:
        choice["text"] = part.text
        choice["logprobs"] = _completion_logprobs(scored, spelt) if asked.with_logprobs else None
    choice["finish_reason"] = part.finish
    data = as_json(asked, _kind(asked, streamed=True), [choice])
    if asked.with_token_ids:
        choice["token_ids"] = [part.token_id]
        if part.first:
            _say_prompt(asked, data, choice)
    if usage is not None:
        data["usage"] = usage
    return event(data)


def usage_event(asked: Asked, usage: Usage) -> bytes:
    """The last event before the end of the stream, where `include_usage` asks for it."""
    data = as_json(asked, _kind(asked, streamed=True), [])
    data["usage"] = usage
    return event(data)


def whole(asked: Asked, choices: Sequence[Joined], usage: Usage, spelt: Spelling) -> dict[str, Any]:
    """The body of a reply that is sent at once."""
    shown: list[dict[str, Any]] = []
    data = as_json(asked, _kind(asked, streamed=False), shown)
    for index, one in enumerate(choices):
        choice: dict[str, Any] = {"index": index}
        if asked.is_chat:
            choice["message"] = {"role": "assistant", "content": one.text, "refusal": None}
            choice["logprobs"] = _chat_logprobs(one.scored, spelt) if asked.with_logprobs else None
        else:
            choice["text"] = one.text
            choice["logprobs"] = (
                _completion_logprobs(one.scored, spelt) if asked.with_logprobs else None
            )
        choice["finish_reason"] = one.finish
        if asked.with_token_ids:
            choice["token_ids"] = one.token_ids
            _say_prompt(asked, data, choice)
        shown.append(choice)
    data["usage"] = usage
    return data


def _say_prompt(asked: Asked, data: dict[str, Any], choice: dict[str, Any]) -> None:
    """vLLM's `prompt_token_ids`: of a chat beside the choices, else in each."""
    request = asked.requests[choice["index"] // asked.samples]
    (data if asked.is_chat else choice)["prompt_token_ids"] = list(request.prompt_token_ids)


def _kind(asked: Asked, *, streamed: bool) -> str:
    if not asked.is_chat:
        return "text_completion"
    return "chat.completion.chunk" if streamed else "chat.completion"


def _completion_logprobs(scored: Sequence[Scored], spelt: Spelling) -> dict[str, Any]:
    return {
        "tokens": [spelt.text(one.token_id) for one in scored],
        "token_logprobs": [one.logprobs.logprob for one in scored],
        "top_logprobs": [_named(one, spelt) for one in scored],
        "text_offset": [one.offset for one in scored],
    }


def _named(scored: Scored, spelt: Spelling) -> dict[str, float]:
    """The likeliest and, as with OpenAI and vLLM, always the one that was sampled. By text; of
    tokens that read the same, the likelier."""
    named: dict[str, float] = {}
    for token_id, logprob in scored.logprobs.top:
        named.setdefault(spelt.text(token_id), logprob)
    named.setdefault(spelt.text(scored.token_id), scored.logprobs.logprob)
    return named


def _chat_logprobs(scored: Sequence[Scored], spelt: Spelling) -> dict[str, Any]:
    def shown(token_id: int, logprob: float) -> dict[str, Any]:
        text = spelt.text(token_id)
        utf8 = spelt.utf8(token_id, text)
        made = None if utf8 is None else list(utf8)
        return {"token": text, "logprob": logprob, "bytes": made}

    return {
        "content": [
            {
                **shown(one.token_id, one.logprobs.logprob),
                "top_logprobs": [shown(*rival) for rival in one.logprobs.top],
            }
            for one in scored
        ],
        "refusal": None,
    }
