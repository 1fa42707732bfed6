"""What a load client is told: where the server is, how it is asked, how long it may take."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from ...engines.errors import ConfigError, unknown_name
from ..storage.json_text import not_finite
from ..units import parse_seconds
from .headers import from_environment
from .servers import AUTO, SERVER_NAMES
from .tls import SYSTEM_TRUST, Trust

Endpoint = Literal["completions", "chat"]
PromptAs = Literal["ids", "text"]
PrefixCache = Literal["fresh", "off", "server"]
Connections = Literal["pool", "fresh"]
OutputLengths = Literal["exact", "at-most"]
LengthField = Literal["max_tokens", "max_completion_tokens"]
# Words in the names of what is nobody else's.
_SECRET = ("key", "token", "secret", "password", "signature")
# What the plan decides, or the measurement stands on.
_NOT_EXTRA = (
    *("model", "prompt", "messages", "stream", "stream_options", "n"),
    *get_args(LengthField),
)


@dataclass(frozen=True)
class Url:
    """Where a server listens. prefix: the path before `/v1`; empty for most. query: of every
    request, such as Azure's `api-version=preview`; empty for most."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    query: str = ""

    def __str__(self) -> str:
        return self.at("")

    def at(self, path: str) -> str:
        """The whole URL of a path behind the prefix."""
        scheme = "https" if self.tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.asked_for(path)}"

    def asked_for(self, path: str) -> str:
        """The same as the first line of a request has it."""
        return f"{self.prefix}{path}{f'?{self.query}' if self.query else ''}"

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """From `http://host:port`, with or without `/v1` and a query. A user's name, a password or a
    key in it is refused: results are made to be shared. Raises ConfigError for `base_url`."""
    allowed = "a URL such as http://127.0.0.1:8000"
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigError("base_url", text, allowed) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("base_url", text, allowed)
    if parts.username or parts.password:
        raise ConfigError("base_url", "with a user's name", f"{allowed}; keys go to --api-key-env")
    if any(_is_of_a_key(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        keys = "keys go to --api-key-env or --header"
        raise ConfigError("base_url", "with a key in its query", f"{allowed}; {keys}")
    fits_a_line = parts.query.isascii() and parts.query.isprintable() and " " not in parts.query
    if parts.fragment or not fits_a_line:
        raise ConfigError("base_url", text, f"{allowed}, without a fragment, spaces encoded")
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Url(parts.hostname, port or (443 if tls else 80), tls, prefix, parts.query)


def _is_of_a_key(name: str) -> bool:
    """Whether a query's value of this name lets its holder in: Google's `key`, Azure's `code`."""
    name = name.lower()
    return name in ("code", "sig", "auth") or any(word in name for word in _SECRET)


@dataclass(frozen=True)
class Timeouts:
    """How long a request may take, in seconds, before it is given up and counted.

    first_token_s: from the send to the first chunk, queueing at the server included. chunk_s:
    between chunks, and from the last of them to the end. total_s: from the send to the end.
    """

    connect_s: float = 10.0
    first_token_s: float = 120.0
    chunk_s: float = 60.0
    total_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("connect_s", "first_token_s", "chunk_s", "total_s"):
            if not 0 < getattr(self, name) < math.inf:
                allowed = "more than 0 seconds, and finite"
                raise ConfigError(f"timeout {name}", getattr(self, name), allowed)


@dataclass(frozen=True)
class ClientConfig:
    """How a server is driven.

    model: as the server calls it; None: the one it serves. prompt_as: token ids (completions only),
    or text. server: whose table of fields to send, or `auto`: as `/v1/models` names its maker.
    prefix_cache: `fresh` reuses nothing from before the run, `off` nothing at all, `server` leaves
    it to the server; see `servers.py` for what each can be told. output_lengths: `exact`, as
    planned; `at-most`, where the model ends its reply, and no later. length_field: of a request's
    body, that says how many tokens are asked for. connections: `pool` keeps them alive and takes
    the one used last, as client libraries do; `fresh` opens one a request and counts that in its
    latency. processes: how many share the sending. max_errors: failed requests that end the run; 0:
    none. extra: fields of every request's body; they go before those of the server's table.
    api_key_env: the environment variable that holds the key, which is stored nowhere. headers_env:
    the same of other headers' values, by their names. trust: whose certificates are believed, of a
    URL with https. metrics_interval_s: how often the server's own metrics are read, while it is
    measured; 0: never.
    """

    url: Url
    endpoint: Endpoint = "completions"
    model: str | None = None
    prompt_as: PromptAs = "ids"
    server: str = AUTO
    prefix_cache: PrefixCache = "fresh"
    output_lengths: OutputLengths = "exact"
    length_field: LengthField = "max_tokens"
    connections: Connections = "pool"
    processes: int = 1
    max_errors: int = 100
    timeouts: Timeouts = Timeouts()
    extra: Mapping[str, Any] = field(default_factory=dict)
    api_key_env: str | None = None
    headers_env: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = SYSTEM_TRUST
    metrics_interval_s: float = 1.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("endpoint", self.endpoint, get_args(Endpoint)),
            ("prompt_as", self.prompt_as, get_args(PromptAs)),
            ("prefix_cache", self.prefix_cache, get_args(PrefixCache)),
            ("output_lengths", self.output_lengths, get_args(OutputLengths)),
            ("length_field", self.length_field, get_args(LengthField)),
            ("connections", self.connections, get_args(Connections)),
            ("server", self.server, SERVER_NAMES),
        ):
            if value not in known:
                raise unknown_name(name, value, known)
        if self.endpoint == "chat" and self.prompt_as == "ids":
            raise ConfigError("prompt_as", "ids", "text: the chat endpoint takes no token ids")
        if self.endpoint == "completions" and self.length_field != "max_tokens":
            allowed = "max_tokens: completions have no other; or --endpoint chat"
            raise ConfigError("length_field", self.length_field, allowed)
        if self.may_end_early and self.extra.get("ignore_eos"):
            allowed = "exact, with --extra ignore_eos: it lets no reply end early"
            raise ConfigError("output_lengths", self.output_lengths, allowed)
        if self.api_key_env is not None and "authorization" in map(str.lower, self.headers_env):
            raise ConfigError("header", "Authorization", "another header: --api-key-env makes it")
        if not self.url.tls and self.trust != SYSTEM_TRUST:
            file = self.trust.ca_file
            field, value = ("insecure", "--insecure") if file is None else ("ca_file", file)
            raise ConfigError(field, value, f"https://, not {self.url}: it has no certificate")
        if not 0 <= self.metrics_interval_s <= 3600:
            raise ConfigError("metrics_interval", self.metrics_interval_s, "0 to 3600 seconds")
        cores = os.cpu_count() or 1
        if not 1 <= self.processes <= max(cores, 8):
            raise ConfigError("processes", self.processes, f"1 to {max(cores, 8)}")
        if self.max_errors < 0:
            raise ConfigError("max_errors", self.max_errors, "0 or more")
        if found := not_finite(self.extra, "extra"):
            raise ConfigError(*found, "a finite number: JSON has no other")

    @property
    def path(self) -> str:
        name = "chat/completions" if self.endpoint == "chat" else "completions"
        return self.url.asked_for(f"/v1/{name}")

    @property
    def may_end_early(self) -> bool:
        """Whether a reply is as long as the model makes it, up to what is planned."""
        return self.output_lengths == "at-most"

    @property
    def tls(self) -> Trust | None:
        """Whose certificates are believed; None where the URL has none."""
        return self.trust if self.url.tls else None

    def api_key(self) -> str | None:
        """The key; None if the server needs none. Raises ConfigError where it is not set."""
        if self.api_key_env is None:
            return None
        return from_environment("api_key_env", self.api_key_env)

    def headers(self) -> dict[str, str]:
        """What a request's head has beside what the client needs, the key among it. Raises
        ConfigError where a value is not set."""
        key = self.api_key()
        return {
            **({} if key is None else {"Authorization": f"Bearer {key}"}),
            **{name: from_environment("header", one) for name, one in self.headers_env.items()},
        }


def parse_timeouts(text: str | None) -> Timeouts:
    """Limits from `first-token:30s,chunk:5s`; what is not named has its default. Raises
    ConfigError for `timeout`."""
    known = {"connect": "connect_s", "first-token": "first_token_s", "chunk": "chunk_s"}
    known["total"] = "total_s"
    limits: dict[str, float] = {}
    for part in text.split(",") if text else ():
        name, _, limit = part.strip().partition(":")
        if name not in known:
            raise unknown_name("timeout", name, known)
        limits[known[name]] = parse_seconds("timeout", limit.strip())
    return Timeouts(**limits)


def parse_extra(texts: Sequence[str]) -> dict[str, Any]:
    """Fields of a request's body from `KEY=JSON`. Raises ConfigError for `extra`."""
    fields: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            found = json.loads(value)
        except ValueError as error:
            raise ConfigError(
                "extra", text, 'KEY=JSON, as top_k=1 or samplers=["top_k"]', f" ({error})"
            ) from error
        if not key or not equals:
            raise ConfigError("extra", text, "KEY=JSON")
        if key in _NOT_EXTRA:
            raise ConfigError("extra", text, f"another field: {key} is the plan's or the client's")
        fields[key] = found
    return fields
