"""The routes: `/v1/completions`, `/v1/chat/completions`, `/v1/models`, `/health`, `/metrics`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

from .bodies import Body, ChatBody, CompletionBody, parse
from .errors import UNAVAILABLE, ApiError
from .respond import ReplyResponse
from .service import Service


def create_app(
    service: Service, on_failure: Callable[[Exception], None] = lambda _: None
) -> FastAPI:
    """The protocol over a service, whose engine starts and stops with the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start(on_failure)
        yield
        service.stop()

    app = FastAPI(title="llmbench serve", lifespan=lifespan)

    # The bodies are parsed here, not by FastAPI: the arrival is stamped before a byte of them is
    # read, and errors have OpenAI's form.
    @app.post("/v1/completions", openapi_extra=_body(CompletionBody))
    async def completions(request: Request) -> Response:
        return await reply(CompletionBody, request)

    @app.post("/v1/chat/completions", openapi_extra=_body(ChatBody))
    async def chat_completions(request: Request) -> Response:
        return await reply(ChatBody, request)

    async def reply(kind: type[CompletionBody | ChatBody], request: Request) -> Response:
        arrival_s = service.clock.now()
        body = parse(kind, await request.body())
        return ReplyResponse(await service.reply_to(body, arrival_s))

    @app.get("/v1/models")
    async def models() -> Response:
        model = {
            "id": service.offer.name,
            "object": "model",
            "created": service.started_at,
            "owned_by": "llmbench",
            "max_model_len": service.offer.max_model_len,
        }
        return _json(200, {"object": "list", "data": [model]})

    @app.get("/health")
    async def health() -> Response:
        why = service.why_not_alive
        return _json(UNAVAILABLE, ApiError(UNAVAILABLE, why).body) if why else Response()

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return _json(error.status, error.body)

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> Response:
        return _json(error.status_code, ApiError(error.status_code, str(error.detail)).body)

    return app


def _body(kind: type[Body]) -> dict[str, Any]:
    """What `/docs` says of a route whose body FastAPI does not see."""
    schema = kind.model_json_schema()
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, "required": True}}


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
