"""A tokenizer as Llama 2's and Mistral's: words with the space before them, and the bytes of each
character that is in none. Of a run of bytes that is no text as a whole, nothing is; the first space
of a text is left out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from llmbench.engines.models.tokenizer import Tokenizer, load_tokenizer
from tokenizers import Tokenizer as HubTokenizer
from tokenizers import decoders, models, normalizers

SPECIALS = ("<unk>", "<s>", "</s>")
WORDS = (" ", " the", "the", " a", "e", "a", "b", "  ", "é", "日", " 日")
_BYTES_FROM = len(SPECIALS) + len(WORDS)


def byte_fallback() -> Tokenizer:
    words = [word.replace(" ", "▁") for word in WORDS]
    tokens = [*SPECIALS, *words, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    made = HubTokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    made.add_special_tokens(list(SPECIALS))
    made.normalizer = normalizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    with TemporaryDirectory() as directory:
        made.save(f"{directory}/tokenizer.json")
        return load_tokenizer(Path(directory))


def special(token: str) -> int:
    return SPECIALS.index(token)


def word(text: str) -> int:
    return len(SPECIALS) + WORDS.index(text)


def bytes_of(text: str) -> list[int]:
    """As if no character of it were in the vocabulary."""
    return [_BYTES_FROM + byte for byte in text.encode()]
