"""Server-sent events from bytes that may be cut anywhere.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, of which OpenAI's API uses
`data` alone, with a whole object in a line; llama.cpp also sends a field `error`, and some gateways
tell an error as an event of that name. Lines end with LF, CRLF or CR; servers of this API use the
first two. Any other field is ignored, as section 9.2.6
says, a line without a colon being the name of one; the first is kept, to be shown if the stream has
no end: then it may have been no stream of events at all.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

from .errors import Label, RequestFailedError

DONE = b"[DONE]"
LONGEST_LINE_BYTES = 2**20


class EventStream:
    """Holds what has come of a line that has not ended.

    done: whether `[DONE]` has come; what follows it is not read. ignored: the first line whose
    field is none of the standard's, its first 100 bytes.
    """

    __slots__ = ("_begun", "_is_error", "_rest", "done", "ignored")

    def __init__(self) -> None:
        self._begun = False
        # Whether the event that has begun is called `error`.
        self._is_error = False
        self._rest = b""
        self.done = False
        self.ignored = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The JSON objects of the lines that are now whole. Raises RequestFailedError for what is
        no event, or an error told as one."""
        if self._rest:
            data = self._rest + data
        if not self._begun and len(data) >= len(BOM_UTF8):
            self._begun, data = True, data.removeprefix(BOM_UTF8)
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE_BYTES:
            raise RequestFailedError(Label.MALFORMED_SSE, "a line of over a mebibyte")
        events: list[dict[str, Any]] = []
        for line in lines:
            if self.done or line[:1] == b":":
                continue  # a comment keeps a connection alive
            if not line or line == b"\r":
                self._is_error = False  # the end of an event
                continue
            kind, _, value = line.partition(b":")
            value = value.strip()
            if kind == b"error" or (kind == b"data" and self._is_error):
                raise RequestFailedError(Label.SERVER_ERROR, value.decode(errors="replace"))
            if kind == b"data":
                if value == DONE:
                    self.done = True
                else:
                    events.append(_object(value))
            elif kind.rstrip(b"\r") == b"event":
                self._is_error = value == b"error"
            elif kind.rstrip(b"\r") not in (b"id", b"retry"):
                self.ignored = self.ignored or line.rstrip(b"\r")[:100]
        return events


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RequestFailedError(
            Label.MALFORMED_SSE, f"no JSON ({error}): {value[:100]!r}"
        ) from error
    if not isinstance(found, dict):
        raise RequestFailedError(Label.MALFORMED_SSE, f"no JSON object: {value[:100]!r}")
    return found
