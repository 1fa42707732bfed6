"""A server's name, looked up once."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.client.addresses import Address, resolve
from llmbench.harness.client.config import ClientConfig, Timeouts, Url, parse_url
from llmbench.harness.client.errors import Label, TargetError
from llmbench.harness.client.prepare import ServerRunConfig, prepare_server_run
from llmbench.harness.client.run import measure_server
from llmbench.harness.client.tls import Trust
from llmbench.harness.config import LoadConfig
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.run.watch import Silent

from ..certificates import make_certificates
from ..mock.in_thread import in_thread
from .sending import plan_of, script_of, send_all


def named(url: str, **config: Any) -> ClientConfig:
    """By a name, where a test's URL has an address."""
    address = parse_url(url)
    return ClientConfig(Url("localhost", address.port, address.tls), **config)


def refusing() -> Address:
    """Where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return Address(socket.AF_INET, one.getsockname())


def listening(url: str) -> Address:
    return Address(socket.AF_INET, ("127.0.0.1", parse_url(url).port))


def name_of(monkeypatch: pytest.MonkeyPatch, *addresses: Address, wait_s: float = 0.0) -> list[str]:
    """What every name leads to from now on, after a while; and, as they come, the lookups."""
    asked: list[str] = []

    def look_up(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        time.sleep(wait_s)
        return [(one.family, socket.SOCK_STREAM, 6, "", one.place) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_lookup_is_no_part_of_a_ttft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a resolver that takes a second for each of six connections."""
    with in_thread(MockServer(lambda _body, _name: script_of((1, 1)))) as url:
        asked = name_of(monkeypatch, listening(url), wait_s=1.0)
        config = named(url, connections="fresh")
        sent = send_all(config, plan_of(6, tokens=2, concurrency=6))
    assert asked == ["localhost"]
    waits_s = [one.t_first_s - one.t_send_s for one in sent.records if one.t_first_s is not None]
    assert len(waits_s) == 6
    assert max(waits_s) < 1.0


def test_the_warm_up_and_all_processes_go_where_the_result_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads elsewhere each time would be several servers."""
    with in_thread(MockServer(lambda _body, _name: script_of((1, 1, 1, 1)))) as url:
        config = ServerRunConfig(
            named(url, processes=2, metrics_interval_s=0),
            LoadConfig(num_requests=8, max_output_len=4),
            tokenizer="bundled",
        )
        prepared = prepare_server_run(config, Silent())
        name_of(monkeypatch, refusing())
        result = measure_server(prepared, Silent()).result
    assert result.counters.requests_ok == 8
    assert result.target is not None
    assert result.target.addresses == tuple(map(str, prepared.addresses))
    assert "127.0.0.1" in result.target.addresses


def test_a_name_without_an_address_is_one_line() -> None:
    for host in ("no-such-host.invalid", "a" * 70 + ".invalid"):
        with pytest.raises(TargetError, match=r"has a name that leads to no address: ") as refused:
            resolve(ClientConfig(Url(host, 80)))
        assert str(refused.value).startswith(f"base_url: http://{host}:80 ")
        assert len(str(refused.value).splitlines()) == 1


def test_who_takes_a_connection_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `localhost` leads to ::1, where a server may not listen."""
    with in_thread(MockServer()) as url:
        nobody, server = refusing(), listening(url)
        name_of(monkeypatch, nobody, server, nobody)
        config = named(url, timeouts=Timeouts(connect_s=5))
        assert resolve(config) == (server, nobody)
    # Whose requests fail then, each for itself.
    assert resolve(config) == (nobody, server)


def test_the_next_address_is_tried_where_the_first_refuses() -> None:
    with in_thread(MockServer(lambda _body, _name: script_of((1, 1)))) as url:
        both = (refusing(), listening(url))
        sent = send_all(named(url), plan_of(3, tokens=2), addresses=both)
        assert [one.status for one in sent.records] == [RequestStatus.OK] * 3
    failed = send_all(named(url), plan_of(2), addresses=both)
    assert [one.error for one in failed.records] == [Label.CONNECT] * 2
    assert all(str(both[0].place[1]) in one.detail for one in failed.records)


def test_a_certificate_is_of_the_name_and_not_of_the_address(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    server = MockServer(lambda _body, _name: script_of((1, 1)))
    with in_thread(server, certificates.served()) as url:
        config = named(url, trust=Trust(certificates.ca_file))
        sent = send_all(config, plan_of(2, tokens=2), addresses=[listening(url)])
        assert [one.status for one in sent.records] == [RequestStatus.OK] * 2
        elsewhere = ClientConfig(
            Url("elsewhere.invalid", config.url.port, tls=True), trust=config.trust
        )
        sent = send_all(elsewhere, plan_of(2), addresses=[listening(url)])
        assert [one.error for one in sent.records] == [Label.TLS] * 2
        assert "elsewhere.invalid" in sent.records[0].detail
