"""What the mock server truly did, request by request, on the clock of the machine."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_LOGGED = 100_000


class Log:
    """The newest requests, in order of arrival; a server may run for days. most: how many. dropped:
    how many older ones are gone since it was last taken; nothing is dropped unsaid."""

    def __init__(self, most: int = MOST_LOGGED) -> None:
        self._sent: deque[Sent] = deque(maxlen=most)
        self.dropped = 0

    def append(self, sent: Sent) -> None:
        self.dropped += len(self._sent) == self._sent.maxlen
        self._sent.append(sent)

    def clear(self) -> None:
        self._sent.clear()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        # Of what there is now: another thread may read while the server goes on.
        return iter(tuple(self._sent))

    def as_json(self) -> dict[str, Any]:
        return {"dropped": self.dropped, "sent": [one.as_json() for one in self]}


@dataclass(slots=True)
class Sent:
    """One request, as it was answered. Times are of CLOCK_MONOTONIC, each read right before the
    bytes were given to the kernel, so none can reach a client earlier.

    chunk_times_s, chunk_tokens: of the events that carried tokens.
    """

    request_id: str
    received_s: float
    prompt_tokens: int
    chunk_times_s: array[float] = field(default_factory=lambda: array("d"))
    chunk_tokens: array[int] = field(default_factory=lambda: array("i"))

    @property
    def tokens(self) -> int:
        return sum(self.chunk_tokens)

    def as_json(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "received_s": self.received_s,
            "prompt_tokens": self.prompt_tokens,
            "chunk_times_s": self.chunk_times_s.tolist(),
            "chunk_tokens": self.chunk_tokens.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sent:
        return cls(
            data["request_id"],
            data["received_s"],
            data["prompt_tokens"],
            array("d", data["chunk_times_s"]),
            array("i", data["chunk_tokens"]),
        )
