"""A seeded rule that makes a script for every request, so that a load needs no script a request."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from ...engines.errors import ConfigError, unknown_name
from .script import Chunk, Counting, Ending, Plain, Script


class Fault(StrEnum):
    """What may go wrong with a request."""

    HTTP_429 = "http_429"
    HTTP_500 = "http_500"
    NOT_JSON = "not_json"  # 200 and HTML
    NOT_STREAMING = "not_streaming"  # 200 and one JSON object
    NOT_HTTP = "not_http"
    MALFORMED_SSE = "malformed_sse"
    SERVER_ERROR = "server_error"  # an error event in the stream
    EARLY_CLOSE = "early_close"
    NO_DONE = "no_done"
    STALL = "stall"
    HANG = "hang"
    COMMENTS = "comments"  # a hang that keeps the connection alive
    NEVER = "never"  # no answer at all
    SLOW_HEADERS = "slow_headers"
    WRONG_USAGE = "wrong_usage"
    NO_USAGE = "no_usage"


@dataclass(frozen=True)
class Rule:
    """How the server behaves.

    ttft_s: from the request to the first chunk with a token. gap_s: between chunks. jitter: both
    are drawn from (1 - jitter, 1 + jitter) times that. tokens_per_chunk: the most tokens of a
    chunk; each has 1 to so many. silent_share: of the chunks that carry tokens and no text.
    ends_early: of the replies that end before their last token, as a model would, unless a request
    says `ignore_eos` or `min_tokens`. faults: share of the requests with each, at most one each.
    stall_s: how long a stall, or slow headers, take. seed: same seed and request id, same script.
    """

    ttft_s: float = 0.02
    gap_s: float = 0.005
    jitter: float = 0.0
    tokens_per_chunk: int = 1
    silent_share: float = 0.0
    ends_early: float = 0.0
    counting: Counting = Counting.CONTINUOUS
    stall_s: float = 0.2
    seed: int = 0
    faults: Mapping[Fault, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("ttft_s", "gap_s", "stall_s"):
            if getattr(self, name) < 0:
                raise ConfigError(name, getattr(self, name), "0 or more seconds")
        if self.tokens_per_chunk < 1:
            raise ConfigError("tokens_per_chunk", self.tokens_per_chunk, "at least 1")
        for name, share in (
            ("jitter", self.jitter),
            ("silent_share", self.silent_share),
            ("ends_early", self.ends_early),
            *((f"fault {fault}", share) for fault, share in self.faults.items()),
        ):
            if not 0 <= share <= 1:
                raise ConfigError(name, share, "a share from 0 to 1")
        # Shares such as 0.7, 0.2 and 0.1 add up to 1 but for their rounding.
        if (all_of_them := math.fsum(self.faults.values())) > 1 + 1e-9:
            raise ConfigError("fault", all_of_them, "shares of at most 1 together")

    def script(self, body: Mapping[str, Any], name: str) -> Script:
        """What happens to one request. body: as it was sent; its own field `mock` overrides the
        rule's. name: the request's id. Raises ConfigError for such a field."""
        rule = self.changed_by(body.get("mock", {}))
        draw = random.Random(f"{rule.seed}:{name}")
        tokens = int(body.get("max_tokens") or body.get("max_completion_tokens") or 16)
        ends_after = rule._ends_after(tokens, body, draw)
        script = Script(
            rule._chunks(ends_after, draw),
            counting=rule.counting,
            finish_reason="stop" if ends_after < tokens else "length",
        )
        at = draw.random()
        for fault, share in rule.faults.items():
            if at < share:
                return rule.with_fault(script, fault)
            at -= share
        return script

    def changed_by(self, asked: Mapping[str, Any]) -> Rule:
        """The rule with fields as a request asks for them; `fault` names one for sure."""
        changes = dict(asked)
        known = [one.name for one in fields(self)]
        if (fault := changes.pop("fault", None)) is not None:
            changes["faults"] = {find_fault(str(fault)): 1.0}
        for name in changes:
            if name not in known:
                raise unknown_name("mock", name, known)
        if "counting" in changes:
            changes["counting"] = find_counting(str(changes["counting"]))
        return replace(self, **changes)

    def _ends_after(self, tokens: int, body: Mapping[str, Any], draw: random.Random) -> int:
        """How many of the tokens asked for come."""
        if not self.ends_early or body.get("ignore_eos") or draw.random() >= self.ends_early:
            return tokens
        least = max(1, int(body.get("min_tokens") or 0))
        return draw.randint(least, tokens - 1) if least < tokens else tokens

    def _chunks(self, tokens: int, draw: random.Random) -> tuple[Chunk, ...]:
        chunks: list[Chunk] = []
        wait_s = self.ttft_s
        while tokens > 0:
            spread = 1 + self.jitter * draw.uniform(-1, 1) if self.jitter else 1.0
            most = min(self.tokens_per_chunk, tokens)
            held = draw.randint(1, most) if most > 1 else 1
            silent = bool(chunks) and self.silent_share > 0 and draw.random() < self.silent_share
            chunks.append(Chunk(wait_s * spread, held, "" if silent else None))
            wait_s = self.gap_s
            tokens -= held
        return tuple(chunks)

    def with_fault(self, script: Script, fault: Fault) -> Script:
        """The script with something wrong in its middle or at its end."""
        half = script.chunks[: len(script.chunks) // 2]
        match fault:
            case Fault.HTTP_429 | Fault.HTTP_500:
                error = b'{"error": {"message": "scripted failure"}}'
                return replace(script, plain=Plain(int(fault[-3:]), body=error))
            case Fault.NOT_JSON:
                return replace(script, plain=Plain(200, "text/html", b"<html>hello</html>"))
            case Fault.NOT_STREAMING:
                return replace(script, plain=Plain(200, "application/json", b'{"choices": []}'))
            case Fault.NOT_HTTP:
                return replace(script, plain=Plain(raw=b"SSH-2.0-OpenSSH_9.2\r\n"))
            case Fault.MALFORMED_SSE:
                bad = Chunk(self.gap_s, 0, raw=b"data: {nonsense\n\n")
                return replace(script, chunks=(*half, bad), ending=Ending.HANG)
            case Fault.SERVER_ERROR:
                return replace(script, chunks=half, error_event="scripted failure")
            case Fault.EARLY_CLOSE:
                return replace(script, chunks=half, ending=Ending.CLOSE)
            case Fault.NO_DONE:
                return replace(script, ending=Ending.NO_DONE)
            case Fault.STALL:
                rest = script.chunks[len(half) :]
                return replace(
                    script, chunks=(*half, replace(rest[0], gap_s=self.stall_s), *rest[1:])
                )
            case Fault.HANG:
                return replace(script, chunks=half, ending=Ending.HANG)
            case Fault.COMMENTS:
                return replace(script, chunks=half, ending=Ending.COMMENTS)
            case Fault.NEVER:
                return replace(script, headers_after_s=None)
            case Fault.SLOW_HEADERS:
                return replace(script, headers_after_s=self.stall_s)
            case Fault.WRONG_USAGE:
                return replace(script, completion_error=-1, counting=Counting.FINAL)
            case Fault.NO_USAGE:
                return replace(script, counting=Counting.NONE)


def find_fault(name: str) -> Fault:
    """Raises ConfigError for another name."""
    if name not in list(Fault):
        raise unknown_name("fault", name, list(Fault))
    return Fault(name)


def find_counting(name: str) -> Counting:
    """Raises ConfigError for another name."""
    if name not in list(Counting):
        raise unknown_name("counting", name, list(Counting))
    return Counting(name)
