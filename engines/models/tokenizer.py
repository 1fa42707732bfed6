"""Text to token ids and back, from a model directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..errors import ModelError

# Characters from which on tokenising takes so long that other threads should run meanwhile.
LONG_TEXT = 4096


class Tokenizer(Protocol):
    """What the tools ask of a tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`, after the special tokens the model expects in front, if any.

        A special token spelt out in the text becomes that token.
        """
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str: ...

    def piece(self, token_id: int) -> str:
        """A token as its vocabulary has it."""
        ...

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """What `encode` puts in front of every text: (bos,) for Llama, nothing for Qwen."""
        ...

    @property
    def vocab_size(self) -> int:
        """Token ids it can give, added tokens included."""
        ...

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text, such as the end of one."""
        ...


class FastTokenizer:
    """A tokenizer.json, read by the `tokenizers` library alone: no import of transformers."""

    def __init__(self, path: Path) -> None:
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            problem = f"is not a tokenizer file ({str(error).partition(chr(10))[0]})"
            raise ModelError("tokenizer", str(path), problem) from error
        # Files saved after training may cut or pad, which would change prompts unseen.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        if len(text) < LONG_TEXT:
            return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        # The same, but for the interpreter's lock, which the library lets go of in this call alone.
        batch = self._tokenizer.encode_batch([text], add_special_tokens=add_special_tokens)
        return batch[0].ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def piece(self, token_id: int) -> str:
        return self._tokenizer.id_to_token(token_id) or ""

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        return tuple(self.encode(""))

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def special_ids(self) -> frozenset[int]:
        added = self._tokenizer.get_added_tokens_decoder()
        return frozenset(token for token, what in added.items() if what.special)


class SlowTokenizer:
    """A directory without tokenizer.json (SentencePiece and others), read by transformers."""

    def __init__(self, directory: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(directory)
        except Exception as error:  # what a file can do wrong is up to each tokenizer
            problem = f"has no tokenizer that can be read ({str(error).partition(chr(10))[0]})"
            raise ModelError("tokenizer", str(directory), problem) from error

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def piece(self, token_id: int) -> str:
        return self._tokenizer.convert_ids_to_tokens(token_id) or ""

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        return tuple(self.encode(""))

    @property
    def vocab_size(self) -> int:
        return len(self._tokenizer)

    @property
    def special_ids(self) -> frozenset[int]:
        return frozenset(self._tokenizer.all_special_ids)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The directory's tokenizer. Raises ModelError."""
    path = directory / "tokenizer.json"
    return FastTokenizer(path) if path.is_file() else SlowTokenizer(directory)


class ByteTokenizer:
    """A stand-in for a model that has a config and no tokenizer: a token is a byte of UTF-8.

    Texts become about four times as many tokens as with a real one, so lengths must come from the
    workload. Ids from 256 on, which a model with random weights says as often, are no text.
    """

    vocab_size = 256
    prefix_ids: tuple[int, ...] = ()
    special_ids: frozenset[int] = frozenset()

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        del add_special_tokens  # it has none
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        del skip_special_tokens
        return bytes(token for token in token_ids if token < 256).decode(errors="replace")

    def piece(self, token_id: int) -> str:
        return f"<0x{token_id:02X}>" if token_id < 256 else ""


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def tokenizer_or_bytes(directory: Path) -> Tokenizer:
    """The directory's tokenizer; a `ByteTokenizer` if it has no file of one."""
    if any((directory / name).is_file() for name in _TOKENIZER_FILES):
        return load_tokenizer(directory)
    return ByteTokenizer()
