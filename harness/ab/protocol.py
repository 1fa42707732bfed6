"""What the two ends of a pipe say: one JSON object a line, each request answered by one reply.

``prepare``  options (words of `llmbench run`), requests a trial -> who the side is
``trial``    seed, num_requests -> the fingerprint of what was sent, and what was measured
``stop``     -> nothing; so does the end of the input

A reply is ``{"ok": true, ...}`` or ``{"ok": false, "kind": KIND, "error": one line}``. The worker
is of the tree that is measured, so the two ends may be of different versions; a host asks in its
own, and a worker that knows another says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PROTOCOL = 1
# usage: a setting that cannot work. invalid: a trial whose numbers prove nothing; the next may.
# lost: its engine can serve no other. crash: a bug.
ErrorKind = Literal["usage", "invalid", "lost", "crash"]


@dataclass(frozen=True)
class SideIdentity:
    """Who a side is. version: of its llmbench. num_requests: that its workload has."""

    label: str
    version: str
    num_requests: int
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One trial of one side. fingerprint: of the requests that it was sent, with their due times.
    values: by name of a quantity, times in seconds."""

    fingerprint: str
    duration_s: float
    values: Mapping[str, float]


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises ValueError for what is not a message."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"not a message: {line[:80]!r}")
    return message
