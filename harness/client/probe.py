"""Is somebody there, and who? Asked once, before anything is sent."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ...engines.errors import unknown_name
from .config import ClientConfig
from .direct_http import Answer, fetch
from .errors import TargetError
from .servers import AUTO
from .tls import explain_tls, speaks_tls

_HINTS: Mapping[int, str] = {
    401: "; a key may be missing: --api-key-env, or --header where it goes elsewhere",
    403: "; a key may be missing: --api-key-env, or --header where it goes elsewhere",
    **dict.fromkeys(
        (404, 405, 501), "; a gateway that has no such list needs --model, --tokenizer and --server"
    ),
}
# What a gateway without that route says.
_NO_LIST = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


@dataclass(frozen=True)
class Probed:
    """A server as it calls itself. max_model_len: None where it does not say."""

    model: str
    owner: str
    max_model_len: int | None


def probe(config: ClientConfig, *, tokenizer_is_told: bool = False) -> Probed:
    """Asks `/v1/models`. A server needs none where all that is read off it is told, nor need the
    model be in it: behind a gateway it may be the name of a deployment, or another name. Raises
    TargetError where no server of this API answers, and ConfigError for a model that it does not
    serve. tokenizer_is_told: whether it need not be known from the model's name."""
    answer = _asked(config)
    told = config.model if tokenizer_is_told and config.server != AUTO else None
    if told is not None and answer.status in _NO_LIST:
        return Probed(told, "", None)
    cards = _models(config, answer)
    names = [card["id"] for card in cards]
    name = names[0] if config.model is None else config.model
    if name not in names:
        if told is not None:
            return Probed(told, "", None)
        raise unknown_name("model", name, names)
    card = cards[names.index(name)]
    # vLLM and SGLang; llama.cpp says it of the training instead, which is no limit.
    longest = card.get("max_model_len")
    says = isinstance(longest, int) and longest > 0
    return Probed(name, str(card.get("owned_by", "")), longest if says else None)


def _asked(config: ClientConfig) -> Answer:
    url, headers = config.url.at("/v1/models"), config.headers()
    try:
        return fetch(url, config.timeouts.connect_s, headers=headers, trust=config.tls)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, (ConnectionError, http.client.HTTPException)):
            _check_scheme(config)
        problem = explain_tls(error) or f"does not answer: {error!s}"
        raise TargetError(str(config.url), problem) from error


def _models(config: ClientConfig, answer: Answer) -> list[dict[str, Any]]:
    if answer.status != HTTPStatus.OK:
        if answer.status == HTTPStatus.BAD_REQUEST:
            _check_scheme(config)
        hint = _HINTS.get(answer.status, "")
        problem = f"is not OpenAI-compatible: /v1/models answered {answer.status}{hint}"
        raise TargetError(str(config.url), problem)
    try:
        found = json.loads(answer.body)
        cards = found if isinstance(found, list) else found["data"]  # Together AI's is bare
        if not cards or not all(isinstance(card["id"], str) for card in cards):
            raise ValueError("it names no model")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        problem = f"is not OpenAI-compatible: /v1/models answered with no list of models ({error})"
        raise TargetError(str(config.url), problem) from error
    return cards


def _check_scheme(config: ClientConfig) -> None:
    """Sent HTTP without TLS, a server that speaks TLS hangs up, or answers 400. Raises TargetError
    where that is it; another server refuses the connection, or the handshake."""
    url = config.url
    if not url.tls and speaks_tls(url.host, url.port, config.timeouts.connect_s):
        raise TargetError(str(url), "speaks TLS: https:// may be meant")
