"""One HTTP request, understood: what the engine is asked, and in which form the client reads it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from ...engines.api import Request
from .bodies import DEFAULT_MAX_TOKENS, Body, ChatBody, CompletionBody, sampling_of
from .errors import bad_request
from .prompts import Prompts


@dataclass(frozen=True)
class Asked:
    """requests: one a prompt, each with `samples` samples. stop: strings the text is cut before."""

    reply_id: str
    model: str
    created: int
    requests: tuple[Request, ...]
    samples: int
    stop: tuple[str, ...]
    is_chat: bool
    streams: bool
    with_logprobs: bool
    with_token_ids: bool
    usage_at_end: bool
    usage_in_chunks: bool

    @property
    def request_ids(self) -> list[str]:
        return [request.request_id for request in self.requests]

    @property
    def prompt_tokens(self) -> int:
        return sum(len(request.prompt_token_ids) for request in self.requests)

    def usage(self, output_tokens: int, cached_tokens: int) -> dict[str, Any]:
        """Tokens as the engine counts them; a prompt counts once, however many its samples."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": self.prompt_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        }


async def understand(
    body: CompletionBody | ChatBody,
    prompts: Prompts,
    *,
    model: str,
    arrival_s: float,
    max_model_len: int,
    max_num_seqs: int,
) -> Asked:
    """Raises ApiError for what cannot be served, before the engine hears of it."""
    _check_samples(body, max_num_seqs)
    is_chat = isinstance(body, ChatBody)
    if isinstance(body, ChatBody):
        token_ids = [await prompts.of_chat(body.messages, max_model_len)]
    else:
        token_ids = await prompts.of_completion(body.prompt, max_model_len)
    if body.stop_token_ids:
        prompts.check_ids("stop_token_ids", body.stop_token_ids)
    reply_id = f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}"
    requests = tuple(
        Request(
            reply_id if len(token_ids) == 1 else f"{reply_id}-{place}",
            prompt,
            sampling_of(body, _max_tokens(body, len(prompt), max_model_len)),
            arrival_s,
            body.priority or 0,
            body.cache_salt,
        )
        for place, prompt in enumerate(token_ids)
    )
    options = body.stream_options
    return Asked(
        reply_id=reply_id,
        model=model,
        created=int(time.time()),
        requests=requests,
        samples=requests[0].sampling.n,
        stop=requests[0].sampling.stop,
        is_chat=is_chat,
        streams=bool(body.stream),
        with_logprobs=body.logprobs_asked is not None,
        with_token_ids=bool(body.return_token_ids),
        usage_at_end=options is not None and bool(options.include_usage),
        usage_in_chunks=options is not None and bool(options.continuous_usage_stats),
    )


def _check_samples(body: Body, max_num_seqs: int) -> None:
    """The samples of a prompt are computed together."""
    if body.n is not None and body.n > max_num_seqs:
        raise bad_request(
            "n",
            f"{body.n} is more than the {max_num_seqs} sequences that this server computes at once",
        )


def _max_tokens(body: Body, prompt_tokens: int, max_model_len: int) -> int:
    """A chat may use what is left of the context, a completion gets OpenAI's 16 tokens."""
    room = max_model_len - prompt_tokens
    asked = body.limit
    if asked is not None and asked < 1:
        raise bad_request(body.limit_field, f"{asked} is not at least 1")
    if asked is None:
        asked = room if isinstance(body, ChatBody) else min(room, DEFAULT_MAX_TOKENS)
    if room < max(asked, 1):
        raise bad_request(
            "messages" if isinstance(body, ChatBody) else "prompt",
            f"{prompt_tokens} tokens and {max(asked, 1)} to generate are more than the "
            f"{max_model_len} that this server holds of one request",
            "context_length_exceeded",
        )
    return asked


def as_json(asked: Asked, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    """The frame that every object of a reply shares."""
    return {
        "id": asked.reply_id,
        "object": kind,
        "created": asked.created,
        "model": asked.model,
        "choices": choices,
    }
