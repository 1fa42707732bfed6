"""Is somebody there, and who? Asked once, before anything is sent."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ...engines.errors import unknown_name
from ..direct_http import open_directly
from ..tls import explain_tls, speaks_tls
from .config import ClientConfig
from .errors import TargetError

_LONGEST_ANSWER_BYTES = 2**22


@dataclass(frozen=True)
class Probed:
    """A server as it calls itself. max_model_len: None where it does not say."""

    model: str
    owner: str
    max_model_len: int | None


def probe(config: ClientConfig) -> Probed:
    """Asks `/v1/models`. Raises TargetError where no server of this API answers, and ConfigError
    for a model that it does not serve."""
    cards = _models(config)
    names = [str(card.get("id")) for card in cards]
    name = names[0] if config.model is None else config.model
    if name not in names:
        raise unknown_name("model", name, names)
    card = cards[names.index(name)]
    # vLLM and SGLang; llama.cpp says it of the training instead, which is no limit.
    longest = card.get("max_model_len")
    return Probed(
        name, str(card.get("owned_by", "")), longest if isinstance(longest, int) else None
    )


def _models(config: ClientConfig) -> list[dict[str, Any]]:
    url = f"{config.url}/v1/models"
    asked = urllib.request.Request(url)
    if (key := config.api_key()) is not None:
        asked.add_header("Authorization", f"Bearer {key}")
    try:
        with open_directly(asked, config.timeouts.connect_s, config.tls) as answer:
            text = answer.read(_LONGEST_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.BAD_REQUEST:
            _check_scheme(config)
        hint = "; a key may be missing: --api-key-env" if error.code in (401, 403) else ""
        problem = f"is not OpenAI-compatible: /v1/models answered {error.code}{hint}"
        raise TargetError(str(config.url), problem) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None)
        cause = reason if isinstance(reason, Exception) else error
        if isinstance(cause, (ConnectionError, http.client.HTTPException)):
            _check_scheme(config)
        problem = explain_tls(cause) or f"does not answer: {reason or error!s}"
        raise TargetError(str(config.url), problem) from error
    try:
        cards = json.loads(text)["data"]
        if not cards or not all(isinstance(card, dict) for card in cards):
            raise ValueError("it lists no model")
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is not OpenAI-compatible: /v1/models answered with no list of models ({error})"
        raise TargetError(str(config.url), problem) from error
    return cards


def _check_scheme(config: ClientConfig) -> None:
    """Sent HTTP without TLS, a server that speaks TLS hangs up, or answers 400. Raises TargetError
    where that is it; another server refuses the connection, or the handshake."""
    url = config.url
    if not url.tls and speaks_tls(url.host, url.port, config.timeouts.connect_s):
        raise TargetError(str(url), "speaks TLS: https:// may be meant")
