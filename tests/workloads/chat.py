"""A tokenizer that a test can count on its fingers: a token is a word."""

from __future__ import annotations

from collections.abc import Sequence

from llmbench.workloads.api import Message, TextEncoder

BOS, ROLE_IDS, END = 1, {"system": 2, "user": 3, "assistant": 4}, 5
FIRST_WORD = 10


class WordTokenizer:
    """Words get ids in the order in which they are first seen."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._words: list[str] = []

    def encode(self, text: str) -> list[int]:
        return [self._id(word) for word in text.split()]

    def decode(self, token_ids: Sequence[int]) -> str:
        return " ".join(
            self._words[token - FIRST_WORD] if token - FIRST_WORD < len(self._words) else f"w{token}"
            for token in token_ids
        )

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        said = [
            token
            for message in messages
            for token in (ROLE_IDS[message.role], *self.encode(message.content), END)
        ]
        return [BOS, *said, ROLE_IDS["assistant"]]

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = FIRST_WORD + len(self._words)
            self._words.append(word)
        return self._ids[word]


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
