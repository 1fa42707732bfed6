"""What a user may say of a server, and how a mistake reads."""

from __future__ import annotations

import re
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.client.config import (
    ClientConfig,
    Timeouts,
    Url,
    parse_extra,
    parse_timeouts,
    parse_url,
)
from llmbench.harness.client.headers import parse_headers
from llmbench.harness.client.servers import OTHER, SERVER_NAMES, SERVERS, find_server
from llmbench.harness.options.run import parameters_of
from llmbench.harness.options.server import server_options


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8000", Url("127.0.0.1", 8000)),
        ("127.0.0.1:8000/v1", Url("127.0.0.1", 8000)),
        ("http://box/v1/", Url("box", 80)),
        ("https://box/api/v1", Url("box", 443, tls=True, prefix="/api")),
        ("http://[::1]:8000", Url("::1", 8000)),
        (
            "https://me.openai.azure.com/openai/v1/?api-version=preview",
            Url(
                "me.openai.azure.com", 443, tls=True, prefix="/openai", query="api-version=preview"
            ),
        ),
        ("http://box?a=1&b", Url("box", 80, query="a=1&b")),
    ],
)
def test_urls(text: str, url: Url) -> None:
    assert parse_url(text) == url
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "ftp://box", "http://", "http://box:port", "http://me:secret@box"),
        *(
            "http://box?api-key=secret",
            "http://box?a=1&Access_Token=secret",
            "http://box?code=secret",
        ),
        *("http://box?a=b c", "http://box?a=\xe9", "http://box#a"),
    ],
)
def test_what_is_no_url_is_refused_and_no_secret_is_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as error:
        parse_url(text)
    assert "secret" not in str(error.value)


def test_extra_fields() -> None:
    assert parse_extra(["top_k=1", 'samplers=["top_k"]', "x=null"]) == {
        "top_k": 1,
        "samplers": ["top_k"],
        "x": None,
    }
    for wrong in (
        "top_k",
        "top_k=",
        "=1",
        "a={",
        "prompt=[1]",
        "stream=false",
        "max_completion_tokens=4",
    ):
        with pytest.raises(ConfigError, match="extra"):
            parse_extra([wrong])


def test_timeouts() -> None:
    assert parse_timeouts(None) == Timeouts()
    assert parse_timeouts("first-token:30s, chunk:500ms") == Timeouts(
        first_token_s=30.0, chunk_s=0.5
    )
    for wrong in ("ttft:3s", "chunk", "chunk:0s", "chunk:3h"):
        with pytest.raises(ConfigError, match="timeout"):
            parse_timeouts(wrong)


def test_a_timeout_is_finite() -> None:
    with pytest.raises(ConfigError, match="total_s: inf"):
        Timeouts(total_s=float("inf"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "embeddings"},
        {"endpoint": "chat"},  # with token ids
        {"prompt_as": "bytes"},
        {"prefix_cache": "warm"},
        {"output_lengths": "some"},
        {"length_field": "tokens", "endpoint": "chat", "prompt_as": "text"},
        {"length_field": "max_completion_tokens"},  # of completions
        {"output_lengths": "at-most", "extra": {"ignore_eos": True}},
        {"connections": "some"},
        {"processes": 0},
        {"max_errors": -1},
        {"extra": parse_extra(['mock={"ttft_s": Infinity}'])},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ClientConfig(Url("box", 80), **wrong)


def test_a_key_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClientConfig(Url("box", 80), api_key_env="SOME_KEY")
    with pytest.raises(ConfigError, match="SOME_KEY"):
        config.api_key()
    monkeypatch.setenv("SOME_KEY", "secret")
    assert config.api_key() == "secret"
    assert "secret" not in repr(config)


def test_headers() -> None:
    assert parse_headers([]) == {}
    assert parse_headers(["api-key=AZURE_KEY", "X-Team=TEAM"]) == {
        "api-key": "AZURE_KEY",
        "X-Team": "TEAM",
    }
    written = ("api-key", "api-key=", "=KEY", "api key=KEY", "api:key=KEY", "näme=KEY")
    ours = ("host=A", "Content-Length=A", "X-Request-Id=A", "accept-encoding=A")
    for wrong in ([one] for one in (*written, *ours)):
        with pytest.raises(ConfigError, match=r"^header: "):
            parse_headers(wrong)
    with pytest.raises(ConfigError, match="each header once"):
        parse_headers(["api-key=A", "API-Key=B"])


def test_a_headers_value_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClientConfig(Url("box", 80), headers_env={"api-key": "SOME_KEY"})
    with pytest.raises(ConfigError, match=r"^header: 'SOME_KEY' is not allowed; .* that is set"):
        config.headers()
    monkeypatch.setenv("SOME_KEY", "secret")
    assert config.headers() == {"api-key": "secret"}
    assert "secret" not in repr(config)
    monkeypatch.setenv("SOME_KEY", "sec\r\nHost: other")
    with pytest.raises(ConfigError, match="SOME_KEY") as error:
        config.headers()
    assert "other" not in str(error.value)


def test_there_is_one_authorization(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASIC", "Basic eA==")
    alone = ClientConfig(Url("box", 80), headers_env={"authorization": "BASIC"})
    assert alone.headers() == {"authorization": "Basic eA=="}
    with pytest.raises(ConfigError, match="--api-key-env makes it"):
        ClientConfig(Url("box", 80), api_key_env="SOME_KEY", headers_env={"authorization": "BASIC"})


def test_servers_are_known_by_what_they_call_themselves() -> None:
    assert find_server("auto", "vllm") is SERVERS["vllm"]
    assert find_server("auto", "llamacpp") is SERVERS["llama.cpp"]
    assert find_server("auto", "somebody") is OTHER
    assert find_server("sglang", "somebody") is SERVERS["sglang"]


def test_a_server_that_is_not_known_is_refused_before_anything_is_sent() -> None:
    names = "auto, llama.cpp, llmbench, mock, openai, sglang, tensorrt-llm, vllm"
    said = f"server: 'vlm' is not allowed; expected one of {names} .did you mean 'vllm'"
    with pytest.raises(ConfigError, match=said):
        ClientConfig(Url("box", 80), server="vlm")


def test_the_help_names_every_server() -> None:
    (option,) = [one for one in parameters_of(server_options) if one.name == "server"]
    named = option.annotation.__metadata__[0].help.rpartition(": ")[2]
    assert set(re.findall(r"[a-z.-]*[a-z]", named)) - {"or", "none"} == set(SERVER_NAMES)


def test_a_key_fits_a_line_and_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClientConfig(Url("box", 80), api_key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "secret\n")
    assert config.api_key() == "secret"
    for key in ("sec\nret", "sécret"):
        monkeypatch.setenv("SOME_KEY", key)
        with pytest.raises(ConfigError, match="SOME_KEY") as error:
            config.api_key()
        assert key not in str(error.value)
