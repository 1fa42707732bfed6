"""Events out of bytes that are cut anywhere."""

from __future__ import annotations

import json
import random
from codecs import BOM_UTF8

import pytest
from llmbench.harness.client.errors import Label, RequestFailedError
from llmbench.harness.client.sse import LONGEST_LINE_BYTES, EventStream


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("seed", [random.randrange(2**32)], ids=["fresh"])
def test_events_may_be_cut_anywhere(seed: int, newline: bytes) -> None:
    draw = random.Random(seed)
    objects = [{"n": n, "text": "é☃\n" * draw.randint(0, 5)} for n in range(20)]
    lines = [b"data: " + json.dumps(one, ensure_ascii=False).encode() for one in objects]
    lines = [b": ping", *lines, b"event: end", b"id: 3", b"data:[DONE]", b'data: {"after": 1}']
    stream = draw.choice([BOM_UTF8, b""]) + (newline * 2).join(lines) + newline * 2
    events = EventStream()
    found = []
    while stream:
        cut = draw.randint(1, 40)
        found += events.feed(stream[:cut])
        stream = stream[cut:]
    assert found == objects
    assert events.done


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b"data: {nonsense\n", Label.MALFORMED_SSE),
        (b"data: 3\n", Label.MALFORMED_SSE),
        (b"data:\n", Label.MALFORMED_SSE),
        (b'error: {"message": "out of memory"}\n', Label.SERVER_ERROR),
        (b'event: error\r\ndata: {"message": "out of memory"}\r\n', Label.SERVER_ERROR),
        (b"x" * (LONGEST_LINE_BYTES + 1), Label.MALFORMED_SSE),
    ],
)
def test_what_is_no_event_is_said(data: bytes, label: str) -> None:
    with pytest.raises(RequestFailedError) as error:
        EventStream().feed(data)
    assert error.value.label == label
    assert len(str(error.value)) <= 300


def test_an_event_is_called_error_until_it_ends() -> None:
    events = EventStream()
    assert events.feed(b'event: error\n\ndata: {"n": 1}\n\nevent: error\n') == [{"n": 1}]
    with pytest.raises(RequestFailedError, match=r"^overloaded$"):
        events.feed(b"data: overloaded\n\n")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_field_that_the_standard_does_not_have_is_ignored_and_kept(newline: bytes) -> None:
    """WHATWG HTML, 9.2.6: "Otherwise: The field is ignored"; a line without a colon is a field."""
    lines = (b"event: x", b"event", b"trace: 7", b'data: {"n": 1}', b"keepalive", b"data: [DONE]")
    events = EventStream()
    assert events.feed(newline.join((*lines, b""))) == [{"n": 1}]
    assert events.done
    assert events.ignored == b"trace: 7"


def test_json_too_deep_to_read_is_malformed() -> None:
    with pytest.raises(RequestFailedError) as error:
        EventStream().feed(b"data: " + b"[" * 200_000 + b"\n")
    assert error.value.label == Label.MALFORMED_SSE
