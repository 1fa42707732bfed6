"""Servers behind gateways: headers, queries and keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.errors import TargetError
from llmbench.harness.client.prepare import ServerRunConfig, prepare_server_run
from llmbench.harness.client.run import measure_server
from llmbench.harness.mock.script import Plain, Script
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.watch import Silent
from llmbench.harness.storage.store import write_run

from ..mock.in_thread import in_thread
from .measured import LOAD, QUICK


@pytest.mark.parametrize("processes", [1, 2])
def test_a_header_goes_with_every_request_and_its_value_is_stored_nowhere(
    processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = "s3cret-100%-of-it"
    monkeypatch.setenv("SOME_SECRET", f"{value}\n")
    monkeypatch.setenv("SOME_KEY", "another-secret")

    def refusing(body: Mapping[str, Any], name: str) -> Script:
        if name == "r3":  # and repeats it
            return Script(plain=Plain(401, body=f"{value} another-secret are no keys".encode()))
        return QUICK.script(body, name)

    server = MockServer(refusing, keep_bodies=True)
    with in_thread(server) as url:
        client = ClientConfig(
            parse_url(url),
            processes=processes,
            headers_env={"api-key": "SOME_SECRET"},
            api_key_env="SOME_KEY",
        )
        config = ServerRunConfig(client, LOAD, tokenizer="bundled")
        found = measure_server(prepare_server_run(config, Silent()), Silent())
    assert found.result.counters.requests_ok == 23
    assert {path for path, _ in server.heads} >= {"/v1/models", "/v1/completions", "/metrics"}
    assert {sent["api-key"] for _, sent in server.heads} == {value}
    assert {sent["authorization"] for _, sent in server.heads} == {"Bearer another-secret"}
    assert found.result.config["headers"] == ["api-key"]
    directory = write_run(tmp_path / "run", found.result, found.requests, found.steps, {})
    stored = b"".join(one.read_bytes() for one in directory.iterdir())
    (refused,) = [one for one in found.requests["detail"] if one]
    assert "are no keys" in refused
    assert f"{value}" not in refused + found.result.model_dump_json() + repr(config)
    assert "another-secret" not in refused
    assert value.encode() not in stored


def test_a_query_goes_with_every_request() -> None:
    """As Azure's api-version."""
    server = MockServer(QUICK.script, keep_bodies=True)
    with in_thread(server) as url:
        client = ClientConfig(parse_url(f"{url}/v1?api-version=preview&x=%41"))
        config = ServerRunConfig(client, LOAD, tokenizer="bundled")
        found = measure_server(prepare_server_run(config, Silent()), Silent())
    assert found.result.counters.requests_ok == 24
    assert found.result.target is not None
    assert found.result.target.base_url == f"{url}?api-version=preview&x=%41"
    asked = {target.partition("?") for target, _ in server.heads}
    assert {path for path, _, _ in asked} >= {"/v1/models", "/v1/completions", "/metrics"}
    assert {query for _, _, query in asked} == {"api-version=preview&x=%41"}


def test_a_key_is_not_taken_along_to_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    class Elsewhere(MockServer):
        def answer(self, method: bytes, path: bytes) -> Plain:
            asked.append(path)
            return super().answer(method, path)

    monkeypatch.setenv("SOME_KEY", "secret")
    with in_thread(Elsewhere(QUICK.script)) as there:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {there}/v1/models\r\nContent-Length: 0\r\n\r\n"

        class Moved(MockServer):
            def answer(self, method: bytes, path: bytes) -> Plain:  # noqa: ARG002
                return Plain(raw=moved.encode())

        with in_thread(Moved()) as url:
            client = ClientConfig(parse_url(url), api_key_env="SOME_KEY")
            with pytest.raises(TargetError, match="answered 307"):
                prepare_server_run(ServerRunConfig(client, LOAD, tokenizer="bundled"), Silent())
    assert not asked
