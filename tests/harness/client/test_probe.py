"""What is made of a server's list of models, whatever it holds."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.errors import TargetError
from llmbench.harness.client.probe import Probed, probe


@contextmanager
def listing(status: int, body: bytes, **asked: Any) -> Iterator[ClientConfig]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ClientConfig(parse_url(f"http://127.0.0.1:{server.server_port}"), **asked)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("more", "longest"),
    [("", None), (', "max_model_len": 4096', 4096), (', "max_model_len": -1', None)],
)
def test_the_first_model_is_taken(more: str, longest: int | None) -> None:
    card = f'{{"id": "m", "owned_by": "us"{more}}}'
    with listing(200, f'{{"data": [{card}, {{"id": "n"}}]}}'.encode()) as config:
        assert probe(config) == Probed("m", "us", longest)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[1]",
        b"[]",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": [{"id": null}]}',
        b'{"data": [{"name": "m"}]}',
        b"\xff\xfe{}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_models_is_one_line(body: bytes) -> None:
    with listing(200, body) as config, pytest.raises(TargetError, match="no list of models"):
        probe(config)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (404, "answered 404; .*needs --model, --tokenizer and --server"),
        (401, "answered 401; a key"),
        (302, "302"),
    ],
)
def test_another_status_is_one_line(status: int, hint: str) -> None:
    with listing(status, b"") as config, pytest.raises(TargetError, match=hint):
        probe(config)


def test_a_bare_list_is_one() -> None:
    with listing(200, b'[{"id": "m"}]') as config:
        assert probe(config) == Probed("m", "", None)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (405, b""), (501, b""), (200, b'{"data": [{"id": "m-2025"}]}')]
)
def test_a_gateway_is_believed_to_serve_what_is_told(status: int, body: bytes) -> None:
    """Without a list, or with one that does not have the name of a deployment."""
    told = {"model": "m", "server": "vllm"}
    with listing(status, body, **told) as config:
        assert probe(config, tokenizer_is_told=True) == Probed("m", "", None)


@pytest.mark.parametrize(
    ("told", "tokenizer"),
    [({"model": "m", "server": "vllm"}, False), ({"model": "m"}, True)],
)
def test_a_model_that_is_not_listed_is_refused_where_its_card_is_needed(
    told: dict[str, str], tokenizer: bool
) -> None:
    with (
        listing(200, b'{"data": [{"id": "m-2025"}]}', **told) as config,
        pytest.raises(ConfigError, match="'m' is not allowed; expected one of m-2025"),
    ):
        probe(config, tokenizer_is_told=tokenizer)


@pytest.mark.parametrize(
    ("status", "told", "tokenizer"),
    [
        (404, {"model": "m", "server": "vllm"}, False),
        (404, {"model": "m"}, True),
        (404, {"server": "vllm"}, True),
        (500, {"model": "m", "server": "vllm"}, True),
    ],
)
def test_without_a_list_everything_that_it_would_say_is_needed(
    status: int, told: dict[str, str], tokenizer: bool
) -> None:
    with (
        listing(status, b"", **told) as config,
        pytest.raises(TargetError, match=f"/v1/models answered {status}"),
    ):
        probe(config, tokenizer_is_told=tokenizer)
