"""What can go wrong with one request, by the label it is counted under."""

from __future__ import annotations

from enum import StrEnum

from ...engines.errors import ConfigError


class Label(StrEnum):
    """A refused status is counted as `http_` and its number beside these."""

    CONNECT = "connect"  # nobody there, or hung up before a byte of the response
    OPEN_FILES = "open_files"  # the client itself may open no more
    TLS = "tls"  # the handshake failed, or nobody believed signed the certificate
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_TOKEN = "timeout_first_token"
    TIMEOUT_CHUNK = "timeout_chunk"
    TIMEOUT_TOTAL = "timeout_total"
    NOT_HTTP = "not_http"
    NOT_STREAMING = "not_streaming"  # 200, and no event stream
    MALFORMED_SSE = "malformed_sse"
    SERVER_ERROR = "server_error"  # told inside the stream
    STREAM_ENDED = "stream_ended"  # before [DONE]
    NO_USAGE = "no_usage"  # nothing says how many tokens came
    BAD_USAGE = "bad_usage"  # what says so contradicts itself
    NO_TOKENS = "no_tokens"  # ended well, with nothing in it


class TargetError(ConfigError):
    """A server that cannot be measured: down, or not OpenAI-compatible. `str()` is one line."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__("base_url", url, problem)
        self.args = (f"base_url: {url} {' '.join(problem.split())}",)


class RequestFailedError(Exception):
    """One request has failed. label: what it is counted under; `str()` says why."""

    def __init__(self, label: str, detail: str) -> None:
        super().__init__(" ".join(detail.split())[:300])
        self.label = label
