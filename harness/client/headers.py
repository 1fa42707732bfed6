"""Headers of a user's own, whose values come from the environment and are stored nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from ...engines.errors import ConfigError

# RFC 9110, section 5.6.2.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What the client says itself, and what would change how a message is read.
_OURS = frozenset(
    (
        *("host", "content-type", "content-length", "accept", "connection", "x-request-id"),
        *("transfer-encoding", "accept-encoding", "te", "trailer", "upgrade", "expect"),
        *("keep-alive", "proxy-connection"),
    )
)
# Shorter ones hide nothing, and may be part of any word.
_SHORTEST_SECRET = 8


def parse_headers(texts: Sequence[str]) -> dict[str, str]:
    """The environment's variable of each header's value, by name, from `NAME=VARIABLE`. Raises
    ConfigError for `header`."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, variable = text.partition("=")
        if not (equals and variable and _NAME.fullmatch(name)):
            allowed = "NAME=VARIABLE, as api-key=AZURE_KEY: the environment has its value"
            raise ConfigError("header", text, allowed)
        if name.lower() in _OURS:
            raise ConfigError("header", name, "another header: the client needs this one")
        if name.lower() in map(str.lower, found):
            raise ConfigError("header", name, "each header once")
        found[name] = variable
    return found


def from_environment(field: str, variable: str) -> str:
    """The value of a variable, as a line of a request's head can hold it. Raises ConfigError for
    `field` where it is not set, or is no such line; the value is never repeated."""
    # One that is read from a file often ends with a line.
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(field, variable, "an environment variable that is set")
    if not (value.isascii() and value.isprintable()):
        allowed = "a variable whose value fits a line of a request's head"
        raise ConfigError(field, variable, allowed)
    return value


def without_secrets(text: str, headers: Mapping[str, str]) -> str:
    """What a server said, without what it was told in confidence: some repeat a key that they
    refuse. headers: values by name; of `Bearer KEY`, the key."""
    for secret in _secrets(headers.values()):
        text = text.replace(secret, "…")
    return text


def _secrets(values: Iterable[str]) -> list[str]:
    words = (value.rpartition(" ")[2] for value in values)
    return [one for one in words if len(one) >= _SHORTEST_SECRET]
