"""The bytes of each request. What is the same in all of them is encoded once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ...workloads.api import Message, Plan, PlannedRequest
from ..run.drive import request_id
from .config import ClientConfig
from .names import sent_name
from .servers import Server

AHEAD = 64


class Decodes(Protocol):
    """A tokenizer, as far as a prompt's text needs one."""

    def decode(self, token_ids: Sequence[int]) -> str: ...


def fixed_fields(config: ClientConfig, server: Server, model: str, salt: str) -> dict[str, Any]:
    """What every request of a run says alike. salt: of this run alone."""
    fields: dict[str, Any] = {
        "model": model,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True, **server.stream_options},
        **({} if config.may_end_early else server.exact),
        **server.counting,
    }
    if config.prefix_cache != "server":
        fields |= server.uncached
        if config.endpoint in server.salted and config.prefix_cache == "fresh":
            fields["cache_salt"] = salt
    return {**fields, **config.extra}


class Bodies:
    """Encodes requests, a few of them before they are due: encoding a long prompt takes a while
    that would make the send late.

    upcoming: the plan's requests, in the order they will be sent in, as far as that is known.
    """

    def __init__(
        self, config: ClientConfig, server: Server, fixed: Mapping[str, Any], plan: Plan, salt: str
    ) -> None:
        self._config = config
        self._server = server
        self._salt = salt
        # A field that was asked for goes before one of ours.
        exact = not config.may_end_early
        self._tells_min_tokens = exact and server.min_tokens and "min_tokens" not in fixed
        self._salts_each = (
            config.endpoint in server.salted
            and config.prefix_cache == "off"
            and "cache_salt" not in fixed
        )
        self._fixed = json.dumps(fixed, separators=(",", ":")).encode()[:-1]
        self._upcoming = iter(plan.requests)
        self._ready: dict[int, bytes] = {}
        # Sent before they were prepared.
        self._overtaken: set[int] = set()

    def name(self, planned: PlannedRequest) -> str:
        """What the server is told that the request is called."""
        return sent_name(self._salt, request_id(planned))

    def of(self, planned: PlannedRequest) -> bytes:
        """The body of one request, which is then forgotten."""
        body = self._ready.pop(planned.index, None)
        if body is None:
            self._overtaken.add(planned.index)
            body = self._encode(planned)
        return body

    def prepare(self) -> bool:
        """Encode one more ahead; whether there was one, and room for it."""
        if len(self._ready) >= AHEAD:
            return False
        for planned in self._upcoming:
            if planned.index not in self._overtaken:
                self._ready[planned.index] = self._encode(planned)
                return True
            self._overtaken.remove(planned.index)
        return False

    def _encode(self, planned: PlannedRequest) -> bytes:
        own: dict[str, Any] = {self._config.length_field: planned.output_tokens}
        if self._tells_min_tokens:
            own["min_tokens"] = planned.output_tokens
        if self._salts_each:
            own["cache_salt"] = f"{self._salt}-{planned.index}"
        if self._config.endpoint == "chat":
            own["messages"] = [one.as_json for one in planned.messages]
        elif self._config.prompt_as == "text":
            own["prompt"] = "\n".join(one.content for one in planned.messages)
        else:
            own["prompt"] = list(planned.prompt_token_ids)
        return self._fixed + b"," + json.dumps(own, separators=(",", ":")).encode()[1:]


def with_texts(plan: Plan, tokenizer: Decodes) -> Plan:
    """The plan with a message for every prompt that came as token ids alone."""
    return replace(
        plan,
        requests=tuple(
            one
            if one.messages
            else replace(one, messages=(Message("user", tokenizer.decode(one.prompt_token_ids)),))
            for one in plan.requests
        ),
    )
