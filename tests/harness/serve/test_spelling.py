"""A token by itself: its text, and its bytes where it is no text."""

from __future__ import annotations

from functools import cache

import pytest
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from llmbench.harness.serve.spelling import Spelling

from .byte_fallback import byte_fallback, bytes_of, special, word


@cache
def bundled() -> Tokenizer:
    return load_tokenizer(model_directory())


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (word(" the"), " the"),
        (word("the"), "the"),
        (word("  "), "  "),
        (word(" 日"), " 日"),
        (bytes_of("!")[0], "!"),
        (bytes_of("€")[0], "\ufffd"),
        (special("</s>"), "</s>"),
    ],
)
def test_a_token_alone_is_spelt_with_the_space_before_it(token: int, text: str) -> None:
    assert Spelling(byte_fallback()).text(token) == text


@pytest.mark.parametrize("tokenizer", [bundled(), ByteTokenizer()], ids=["bundled", "bytes"])
def test_where_no_space_is_left_out_a_token_is_spelt_as_it_decodes(tokenizer: Tokenizer) -> None:
    spelt = Spelling(tokenizer)
    for token in range(tokenizer.vocab_size):
        assert spelt.text(token) == tokenizer.decode([token], skip_special_tokens=False)


@pytest.mark.parametrize("tokenizer", [bundled(), ByteTokenizer()], ids=["bundled", "bytes"])
@pytest.mark.parametrize(
    "text", ["12 € and 👩‍🚀 𝔘", "漢字仮名 한국어", "\ufffd", "\x00\x7f\xa0\xad"]
)
def test_the_bytes_of_tokens_join_to_the_text(tokenizer: Tokenizer, text: str) -> None:
    """Known wrong here: a part of a character had those of U+FFFD."""
    spelt = Spelling(tokenizer)
    token_ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = [spelt.utf8(token, spelt.text(token)) for token in token_ids]
    assert b"".join(piece or b"?" for piece in pieces) == text.encode()


def test_the_bytes_of_a_vocabulary_with_bytes_beside_words() -> None:
    spelt = Spelling(byte_fallback())
    for token, utf8 in [
        (bytes_of("€")[1], b"\x82"),
        (word(" the"), b" the"),
        (word("é"), b"\xc3\xa9"),
    ]:
        assert spelt.utf8(token, spelt.text(token)) == utf8


def test_bytes_that_nobody_knows_are_none() -> None:
    class Odd(ByteTokenizer):
        def piece(self, token_id: int) -> str:
            del token_id
            return "▁"

    assert Spelling(Odd()).utf8(0xE2, "\ufffd") is None
