"""What is found out of a server, and refused, before anything is measured."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.client.calibration import ClientCalibration
from llmbench.harness.client.config import ClientConfig, Timeouts, parse_url
from llmbench.harness.client.errors import TargetError
from llmbench.harness.client.prepare import ServerRunConfig, prepare_server_run
from llmbench.harness.config import LoadConfig
from llmbench.harness.mock.script import Plain
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.watch import Silent
from llmbench.workloads.api import WorkloadError

from ..mock.in_thread import in_thread
from .measured import LOAD, QUICK, measured


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Plain(404), "is not OpenAI-compatible: /v1/models answered 404"),
        (Plain(401), "--api-key-env"),
        (Plain(200, "text/html", b"<html>"), "no list of models"),
        (Plain(200, body=b'{"data": []}'), "no list of models"),
        (Plain(200, body=b"[1]"), "no list of models"),
        (Plain(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), "does not answer"),
        (Plain(raw=b""), "does not answer"),
    ],
)
def test_what_is_no_such_server_is_one_line(answer: Plain, said: str) -> None:
    class Other(MockServer):
        def answer(self, method: bytes, path: bytes) -> Plain:  # noqa: ARG002
            return answer

    with in_thread(Other()) as url:
        config = ServerRunConfig(ClientConfig(parse_url(url)), LOAD, tokenizer="bundled")
        with pytest.raises(TargetError, match=said) as error:
            prepare_server_run(config, Silent())
    assert "\n" not in str(error.value)


def test_a_server_that_is_down_or_silent_is_one_line() -> None:
    with silent_port() as port:
        limits = Timeouts(connect_s=0.3)
        client = ClientConfig(parse_url(f"http://127.0.0.1:{port}"), timeouts=limits)
        with pytest.raises(TargetError, match="does not answer"):
            prepare_server_run(ServerRunConfig(client, LOAD), Silent())
    with pytest.raises(TargetError, match="refused"):
        prepare_server_run(ServerRunConfig(client, LOAD), Silent())


@contextmanager
def silent_port() -> Iterator[int]:
    """Accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                held.append(server.accept()[0])
            except OSError:
                return  # closed

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)
        for one in held:
            one.close()


def test_an_unknown_model_and_unknown_tokens_are_refused() -> None:
    with in_thread(MockServer(QUICK.script, owned_by="vllm")) as url:
        address = parse_url(url)
        with pytest.raises(ConfigError, match="one of mock"):
            prepare_server_run(
                ServerRunConfig(ClientConfig(address, model="mocking"), LOAD), Silent()
            )
        with pytest.raises(ConfigError, match="--tokenizer"):
            prepare_server_run(ServerRunConfig(ClientConfig(address), LOAD), Silent())


def test_a_limit_on_a_servers_queue_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"slo: 'queue' is not allowed; expected .*sees: ttft,"):
        measured(slo_s={"queue": 0.001, "ttft": 1.0})


def test_parallel_samples_are_refused() -> None:
    with pytest.raises(WorkloadError, match="samples"):
        measured(load=LoadConfig(num_requests=4, samples=2))


def test_a_calibration_that_cannot_be_read_is_found_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    empty = ClientCalibration("a CPU", "2026-01-01T00:00:00+00:00", 1, ()).as_json()
    for text in ("{}", "{", json.dumps(empty)):
        (tmp_path / "client-calibration.json").write_text(text)
        server = MockServer(QUICK.script)
        with in_thread(server) as url, pytest.raises(ConfigError, match="client_calibration"):
            prepare_server_run(
                ServerRunConfig(ClientConfig(parse_url(url)), LOAD, tokenizer="bundled"), Silent()
            )
        assert not server.log
