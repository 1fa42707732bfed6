"""A tokenizer that a test can count on its fingers: a token is a word."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from llmbench.workloads.api import Message, TextEncoder

BOS, ROLE_IDS, END = 1, {"system": 2, "user": 3, "assistant": 4}, 5
FIRST_WORD = 10


class WordTokenizer:
    """A word's id depends on the word alone, and not on what was read before."""

    def __init__(self) -> None:
        self._words: dict[int, str] = {}

    def encode(self, text: str) -> list[int]:
        return [self._id(word) for word in text.split()]

    def decode(self, token_ids: Sequence[int]) -> str:
        return " ".join(self._words.get(token, f"w{token}") for token in token_ids)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        said = [
            token
            for message in messages
            for token in (ROLE_IDS[message.role], *self.encode(message.content), END)
        ]
        return [BOS, *said, ROLE_IDS["assistant"]]

    def _id(self, word: str) -> int:
        token = FIRST_WORD + crc32(word.encode()) % 90_000
        self._words[token] = word
        return token


def word_encoder(*, chat: bool = True) -> TextEncoder:
    tokenizer = WordTokenizer()
    return TextEncoder(
        encode=tokenizer.encode,
        decode=tokenizer.decode,
        vocab_size=100_000,
        prefix_ids=(BOS,),
        special_ids=frozenset(range(FIRST_WORD)),
        encode_chat=tokenizer.encode_chat if chat else None,
    )
