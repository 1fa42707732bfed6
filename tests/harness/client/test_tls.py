"""The client over TLS, against the mock server with certificates of a private authority."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.client.config import ClientConfig, Timeouts, parse_url
from llmbench.harness.client.errors import TargetError
from llmbench.harness.client.probe import probe
from llmbench.harness.client.server_metrics import scraping, told_by_server
from llmbench.harness.client.tls import Trust
from llmbench.harness.mock.rule import Rule
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.record import RequestStatus

from ..certificates import Certificates, make_certificates
from ..mock.in_thread import in_thread
from .sending import exchange, plan_of, script_of, send_all

QUICK = Rule(0.002, 0.001)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def silent_listener() -> Iterator[int]:
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def plain_server() -> Iterator[int]:
    """Answers whatever it is sent with an error of HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                return  # closed: it is over

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def trusting(url: str, trust: Trust, **config: object) -> ClientConfig:
    return ClientConfig(parse_url(url), trust=trust, **config)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("connections", ["pool", "fresh"])
def test_counts_are_the_same_behind_tls(certificates: Certificates, connections: str) -> None:
    """Twelve replies of 7 tokens in three chunks, four at a time."""
    seen = exchange(
        script_of([1, 4, 2]),
        plan_of(12, tokens=7, concurrency=4),
        tls=certificates.served(),
        trust=Trust(certificates.ca_file),
        connections=connections,
    )
    records = seen.sent.records
    assert [one.status for one in records] == [RequestStatus.OK] * 12
    assert [list(one.chunk_tokens) for one in records] == [[1, 4, 2]] * 12
    assert [one.counted for one in records] == ["usage"] * 12
    assert seen.connections == (4 if connections == "pool" else 12)
    for one in records:
        truth = seen.truths[one.request_id]
        assert list(one.chunk_tokens) == list(truth.chunk_tokens)
        # Nothing is read before it was sent.
        read = [time_s + seen.origin_s for time_s in one.chunk_times_s]
        assert all(sent <= came for sent, came in zip(truth.chunk_times_s, read, strict=True))


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ("good", "unable to get local issuer certificate; --ca-file names the authority"),
        ("self_signed", "self-signed certificate; --ca-file names the authority"),
    ],
)
def test_an_authority_that_is_not_known_is_one_line(
    certificates: Certificates, served: str, said: str
) -> None:
    with in_thread(MockServer(), certificates.served(served)) as url:
        with pytest.raises(TargetError, match=said) as refused:
            probe(trusting(url, Trust()))
        assert len(str(refused.value).splitlines()) == 1
        assert str(refused.value).startswith(f"base_url: {url} shows a certificate that is not")
        assert str(refused.value).endswith("--insecure believes any")


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ("expired", "certificate has expired"),
        ("elsewhere", "certificate is not valid for '127.0.0.1'"),
    ],
)
def test_a_certificate_that_is_not_valid_is_one_line(
    certificates: Certificates, served: str, said: str
) -> None:
    """And no authority would help."""
    with in_thread(MockServer(), certificates.served(served)) as url:
        with pytest.raises(TargetError, match=said) as refused:
            probe(trusting(url, Trust(certificates.ca_file)))
        assert "--ca-file" not in str(refused.value)
        assert probe(trusting(url, Trust(verify=False))).owner == "llmbench-mock"


def test_a_name_is_verified_as_well_as_an_address(certificates: Certificates) -> None:
    with in_thread(MockServer(), certificates.served()) as url:
        named = url.replace("127.0.0.1", "localhost")
        for address in (url, named):
            assert probe(trusting(address, Trust(certificates.ca_file))).model


@pytest.mark.parametrize("served", ["expired", "elsewhere", "good"])
def test_a_certificate_that_fails_later_is_counted_by_label(
    certificates: Certificates, served: str
) -> None:
    trust = Trust(None if served == "good" else certificates.ca_file)
    seen = exchange(script_of([1]), plan_of(3), tls=certificates.served(served), trust=trust)
    assert [one.error for one in seen.sent.records] == ["tls"] * 3
    assert all("not believed" in one.detail for one in seen.sent.records)
    assert seen.truths == {}


def test_http_to_a_port_of_tls_and_the_other_way_round(certificates: Certificates) -> None:
    with in_thread(MockServer(), certificates.served()) as url:
        plain = ClientConfig(parse_url(url.replace("https", "http")))
        with pytest.raises(TargetError, match="speaks TLS: https:// may be meant"):
            probe(plain)
        sent = send_all(plain, plan_of(2))
        assert {one.status for one in sent.records} == {RequestStatus.FAILED}
    with plain_server() as port:
        told = trusting(f"https://127.0.0.1:{port}", Trust(certificates.ca_file))
        with pytest.raises(TargetError, match="answers without TLS: http:// may be meant"):
            probe(told)
        sent = send_all(told, plan_of(2))
        assert [one.error for one in sent.records] == ["tls"] * 2
        # What answers 400 to everybody is no server of TLS.
        with pytest.raises(TargetError, match="answered 400"):
            probe(ClientConfig(parse_url(f"http://127.0.0.1:{port}")))


def test_a_handshake_has_the_time_that_connecting_has(certificates: Certificates) -> None:
    with silent_listener() as port:
        told = trusting(
            f"https://127.0.0.1:{port}",
            Trust(certificates.ca_file),
            timeouts=Timeouts(connect_s=0.2),
        )
        with pytest.raises(TargetError, match=r"does not answer: .*timed out"):
            probe(told)
        sent = send_all(told, plan_of(3))
        assert [one.error for one in sent.records] == ["timeout_connect"] * 3


def test_what_is_typed_is_what_the_result_says(
    certificates: Certificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mock = MockServer(QUICK.script)
    for typed, tls, verified in (
        (["--ca-file", certificates.ca_file, "--processes", "2"], "verified by --ca-file", True),
        (["--insecure", "--metrics-interval", "0"], "not verified", False),
    ):
        with in_thread(mock, certificates.served()) as url:
            asked = ["run", "--target", "openai", "--base-url", url, "--num-requests", "8"]
            out = str(tmp_path / tls)
            with pytest.raises(SystemExit) as left:
                main([*asked, "--max-output-len", "4", "--json", "--out", out, *typed])
        result = json.loads(capsys.readouterr().out)
        assert left.value.code in (Exit.OK, Exit.INVALID)  # a busy machine may make it late
        assert result["counters"]["requests_ok"] == 8
        assert result["config"]["tls"] == tls
        (check,) = [one for one in result["validity"]["checks"] if one["id"] == "certificate"]
        assert (check["ok"], check["fatal"]) == (verified, False)
        report = (tmp_path / tls / "report.md").read_text()
        assert ("nobody verified" in report) == (not verified)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--base-url", "https://h", "--ca-file", "nowhere.pem"], "No such file"),
        (["--base-url", "https://h", "--ca-file", "empty.pem"], "certificates in PEM"),
        (["--base-url", "https://h", "--ca-file", "empty.pem", "--insecure"], "beside --insecure"),
        (["--base-url", "http://h", "--ca-file", "empty.pem"], "ca_file: 'empty.pem'"),
        (["--base-url", "http://h", "--insecure"], "insecure: '--insecure'"),
    ],
    ids=["absent", "no certificate", "both", "http with a file", "http insecure"],
)
def test_a_mistake_is_one_line(
    typed: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.pem").write_text("no certificate\n")
    with pytest.raises(SystemExit) as left:
        main(["run", "--target", "openai", "--quiet", *typed])
    assert left.value.code == Exit.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_servers_own_metrics_are_read_with_the_same_trust(certificates: Certificates) -> None:
    """The mock has none, which is told only once the handshake has succeeded."""
    for trust, said in (
        (Trust(certificates.ca_file), "has no page of metrics"),
        (Trust(), "CERTIFICATE_VERIFY_FAILED"),
    ):
        with (
            in_thread(MockServer(), certificates.served()) as url,
            scraping(url, interval_s=0.01, trust=trust) as scraper,
        ):
            own = told_by_server(scraper.stop(), origin_s=0.0)
        assert said in own.trouble


def test_a_mock_server_without_its_key_is_one_line(
    certificates: Certificates, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["mock-server", "--port", "0", "--tls-certificate", certificates.ca_file])
    assert left.value.code == Exit.USAGE
    assert "a certificate and its key" in capsys.readouterr().err


def test_both_at_once_is_refused() -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        Trust("a.pem", verify=False)
    assert Trust(verify=False).context().verify_mode is ssl.CERT_NONE
    assert Trust().context().verify_mode is ssl.CERT_REQUIRED
