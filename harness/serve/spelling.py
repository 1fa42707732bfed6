"""One token by itself: as text, and as the bytes that it is of it."""

from __future__ import annotations

import re

from ...engines.models.tokenizer import Tokenizer
from ...engines.stopping import REPLACEMENT

_BYTE = re.compile("<0x([0-9A-F]{2})>")


def _printed() -> dict[str, int]:
    """GPT-2's alphabet, which most vocabularies are written in: a printable byte of Latin-1 stands
    for itself, the others are the characters from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(256 + place): byte for place, byte in enumerate(others)}


_PRINTED = _printed()


class Spelling:
    """Each token as it reads within a text, special tokens spelt out: at the very start decoders
    leave its space out, and two tokens that differ in it would look like one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._context = tokenizer.encode("a", add_special_tokens=False)
        self._known = len(tokenizer.decode(self._context, skip_special_tokens=False))

    def text(self, token_id: int) -> str:
        """U+FFFD for what is a part of a character only."""
        shown = self._tokenizer.decode([*self._context, token_id], skip_special_tokens=False)
        return shown[self._known :]

    def utf8(self, token_id: int, text: str) -> bytes | None:
        """Its bytes; those of a character's parts join to the character. None where they cannot be
        told. text: as above."""
        if REPLACEMENT not in text:
            return text.encode()
        piece = self._tokenizer.piece(token_id)
        if one := _BYTE.fullmatch(piece):
            return bytes([int(one[1], 16)])
        if all(character in _PRINTED for character in piece):
            return bytes(_PRINTED[character] for character in piece)
        return None
