"""Text in parts: they join to the whole, and no part splits a character or shows a stop string."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from llmbench.harness.serve.text import TextStream

from .byte_fallback import SPECIALS, WORDS, byte_fallback, bytes_of, special, word

TEXTS = (
    "The naïve café — 12 €, a 👩‍🚀 and a 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 word. " * 3,
    "漢字仮名交じり文、および한국어도 시험한다. " * 4,
    "plain words only, with  two spaces\n\tand a tab " * 4,
)


@cache
def bundled() -> Tokenizer:
    return load_tokenizer(model_directory())


@pytest.mark.parametrize("tokenizer", [bundled(), ByteTokenizer()], ids=["bundled", "bytes"])
@pytest.mark.parametrize("text", TEXTS, ids=["emoji", "cjk", "plain"])
def test_parts_join_to_the_whole_and_each_is_whole_characters(
    tokenizer: Tokenizer, text: str
) -> None:
    token_ids = tokenizer.encode(text, add_special_tokens=False)
    stream = TextStream(tokenizer.decode)
    parts = [stream.push(token) for token in token_ids]
    assert not any("\ufffd" in part for part in parts)
    assert "".join(parts) + stream.end() == tokenizer.decode(token_ids) == text


def test_bytes_that_stand_for_characters_join_to_the_whole_however_long_the_run() -> None:
    """Known wrong: every window of 16 tokens was cut to 4, inside a character, and what followed
    was marks."""
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    tokenizer = byte_fallback()
    for _ in range(300):
        token_ids = bytes_of(draw.choice("日a🎉"))
        for _ in range(draw.randrange(1, 5)):
            run = draw.choices("日本語の文字列。🎉👩‍🚀éß a\n", k=draw.randrange(1, 20))
            token_ids += bytes_of("".join(run))
            token_ids += [word(one) for one in draw.choices(WORDS, k=draw.randrange(6))]
            token_ids += [draw.randrange(1, len(SPECIALS))] * draw.choice((0, 0, 1, 40))
        stream = TextStream(tokenizer.decode)
        parts = [stream.push(token) for token in token_ids]
        assert not any("\ufffd" in part for part in parts), (seed, token_ids)
        assert "".join(parts) + stream.end() == tokenizer.decode(token_ids), (seed, token_ids)


def test_a_stop_string_is_found_after_a_long_run_of_bytes() -> None:
    tokenizer = byte_fallback()
    stream = TextStream(tokenizer.decode, stop=("終わり",))
    token_ids = bytes_of("日本語の文字列です。🎉終わり、まだ")
    assert "".join(map(stream.push, token_ids)) + stream.end() == "日本語の文字列です。🎉"


@pytest.mark.parametrize("begins", ["", "a"])
def test_tokens_that_leave_no_trace_cost_no_more_the_more_there_are(begins: str) -> None:
    """A model whose end of text is ignored may say nothing else."""
    tokenizer, longest = byte_fallback(), 0

    def decode(token_ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(token_ids))
        return tokenizer.decode(token_ids)

    stream = TextStream(decode)
    token_ids = [*bytes_of(begins), *[special("</s>")] * 200]
    assert "".join(map(stream.push, token_ids)) == begins
    assert longest < 20
    assert stream.push(word(" the")) == (" the" if begins else "the")


@pytest.mark.parametrize("tokenizer", [bundled(), ByteTokenizer()], ids=["bundled", "bytes"])
def test_tokens_that_are_no_text_do_not_hold_the_stream_for_ever(tokenizer: Tokenizer) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    token_ids = [draw.randrange(tokenizer.vocab_size) for _ in range(300)]
    stream = TextStream(tokenizer.decode)
    parts = [stream.push(token) for token in token_ids]
    silent = longest = 0
    for part in parts:
        silent = 0 if part else silent + 1
        longest = max(longest, silent)
    shown = "".join(parts) + stream.end()
    # What is no character may come out as one mark or as several; what is one must be there.
    whole = tokenizer.decode(token_ids)
    assert shown.replace("\ufffd", "") == whole.replace("\ufffd", ""), seed
    assert longest <= 2 * 8, seed


def test_a_character_that_begins_where_nonsense_is_given_up_is_shown_whole() -> None:
    """Its first bytes were given up with what came before them."""
    for character in ("՜", "€", "🙂"):
        first, *rest = character.encode()
        for place in range(1, 9):
            nonsense = [0x9C] * (place - 1)
            stream = TextStream(ByteTokenizer().decode)
            token_ids = [*nonsense, first, *rest, ord("a")]
            shown = "".join(map(stream.push, token_ids)) + stream.end()
            assert shown.replace("\ufffd", "") == f"{character}a", place


def test_a_cut_character_is_shown_as_such_at_the_end() -> None:
    stream = TextStream(ByteTokenizer().decode)
    euro = list("5 €".encode())
    parts = [stream.push(token) for token in euro[:-1]]
    assert parts == ["5", " ", "", ""]
    assert stream.end() == "\ufffd"


def test_a_stop_string_and_what_may_begin_one_are_held_back() -> None:
    stream = TextStream(ByteTokenizer().decode, stop=("END", "\n\n"))
    parts = [stream.push(token) for token in b"an EN, then E" + b"ND and more"]
    # E and N wait until it is clear that they begin no END.
    assert parts[:6] == ["a", "n", " ", "", "", "EN,"]
    assert "".join(parts) == "an EN, then "
    assert stream.end() == ""


def test_a_streams_length_counts_what_is_held_back_but_for_half_a_character() -> None:
    stream = TextStream(ByteTokenizer().decode, stop=("END",))
    lengths: list[int] = []
    for token in "€ EN.".encode():
        lengths.append(stream.length)
        stream.push(token)
    assert lengths == [0, 0, 0, 1, 2, 3, 4]


def test_what_may_have_begun_a_stop_string_is_shown_when_nothing_follows() -> None:
    stream = TextStream(ByteTokenizer().decode, stop=("END",))
    assert "".join(stream.push(token) for token in b"the EN") == "the "
    assert stream.end() == "EN"


def test_a_stop_string_may_begin_in_the_middle_of_a_false_start() -> None:
    stream = TextStream(ByteTokenizer().decode, stop=("aab",))
    assert "".join(stream.push(token) for token in b"xaaab!") == "xa"
