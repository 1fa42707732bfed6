"""The two routes whose replies are measured, past FastAPI.

Its layers, each of which wraps `send`, would stand before every first token and handle every other
one (docs/serving.md has what that cost). FastAPI has the other routes.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import ChatBody, CompletionBody, parse
from .errors import ApiError
from .respond import send_error, send_reply
from .service import Service

# Eight million tokens by their ids: more than a context holds, and than a batch of prompts needs.
MOST_BODY_BYTES = 64 * 2**20
_METHOD_NOT_ALLOWED, _CONTENT_TOO_LARGE = 405, 413


class Front:
    """An ASGI application. replies: the body that each of its routes takes. others: has every
    other route."""

    def __init__(
        self,
        replies: Mapping[str, type[CompletionBody | ChatBody]],
        service: Service,
        others: ASGIApp,
    ) -> None:
        self._replies = replies
        self._service = service
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_http = scope["type"] == "http"
        kind = self._replies.get(scope["path"].removesuffix("/")) if is_http else None
        if kind is None:
            await self._others(scope, receive, send)
            return
        if scope["method"] != "POST":
            error = ApiError(_METHOD_NOT_ALLOWED, "Method Not Allowed")
            await send_error(error, send, [(b"allow", b"POST")])
            return
        # Before a byte of the body is read.
        arrival_s = self._service.clock.now()
        try:
            if (data := await _body(receive)) is None:
                return
            body = parse(kind, data)
            reply = await self._service.reply_to(body, arrival_s, _client_name(scope))
        except ApiError as error:
            await send_error(error, send)
            return
        await send_reply(reply, receive, send)


def _client_name(scope: Scope) -> str | None:
    """The header `X-Request-Id`, by which a client's records and the request log are joined."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode("latin-1")
    return None


async def _body(receive: Receive) -> bytes | None:
    """None if the client went before it was all there. Raises ApiError for one that is too long."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY_BYTES:
            said = f"the body is more than {MOST_BODY_BYTES // 2**20} MiB"
            raise ApiError(_CONTENT_TOO_LARGE, said)
        if not message.get("more_body", False):
            return b"".join(parts)
