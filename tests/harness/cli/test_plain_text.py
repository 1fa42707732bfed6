"""Characters that an encoding does not have."""

from __future__ import annotations

import pytest
from llmbench.harness.cli.plain_text import HANDLER


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("1\u202f430 tokens/s, \u221212\u00a0%", "ascii", b"1 430 tokens/s, -12 %"),
        ("210 µs, 1.02×", "ascii", b"210 us, 1.02x"),
        ("210 µs, 1.02×", "latin-1", b"210 \xb5s, 1.02\xd7"),
        ("▁▂█", "ascii", b"128"),
        ("runs/ü", "ascii", rb"runs/\xfc"),
        ("runs/日", "latin-1", rb"runs/\u65e5"),
        ("runs/\udc80", "utf-8", rb"runs/\udc80"),
        ("1\u202f430 µs", "utf-8", "1\u202f430 µs".encode()),
    ],
)
def test_ours_are_as_ascii_writes_them_and_others_are_spelt(
    text: str, encoding: str, written: bytes
) -> None:
    assert text.encode(encoding, HANDLER) == written
