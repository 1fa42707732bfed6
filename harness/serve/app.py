"""The routes: `/v1/completions`, `/v1/chat/completions`, `/v1/models`, `/health`, `/metrics`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from .bodies import ChatBody, CompletionBody
from .errors import UNAVAILABLE, ApiError
from .front import Front
from .service import Service

_REPLIES: dict[str, type[CompletionBody | ChatBody]] = {
    "/v1/completions": CompletionBody,
    "/v1/chat/completions": ChatBody,
}


def create_app(
    service: Service, on_failure: Callable[[Exception], None] = lambda _: None
) -> ASGIApp:
    """The protocol over a service, whose engine starts and stops with the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start(on_failure)
        yield
        service.stop()

    app = FastAPI(title="llmbench serve", lifespan=lifespan)

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

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> Response:
        return _json(error.status_code, ApiError(error.status_code, str(error.detail)).body)

    _describe(app)
    return Front(_REPLIES, service, app)


def _describe(app: FastAPI) -> None:
    """Have `/docs` say what of the routes that FastAPI does not see."""
    described = app.openapi()
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    for path, kind in _REPLIES.items():
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[kind.__name__] = schema
        body = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}
        described["paths"][path] = {
            "post": {
                "summary": path.removeprefix("/v1/").replace("/", " ").capitalize(),
                "operationId": kind.__name__,
                "requestBody": {"content": {"application/json": body}, "required": True},
                "responses": {"200": {"description": "The reply, whole or as server-sent events."}},
            }
        }


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
