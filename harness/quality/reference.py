"""The unquantised model beside which a quantised directory is judged, where one is named: such a
directory does not say what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...engines.errors import ConfigError
from ...engines.models.catalogue import ModelFiles, resolve_model
from ...engines.models.describe import describe_model
from ...engines.models.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from ...engines.models.decoder import DecoderConfig
    from ...engines.resolved import ResolvedEngine

_FIELD = "quality_reference"


def check_reference_is_used(
    reference: str, files: ModelFiles, engine: ResolvedEngine, quality_tokens: int
) -> None:
    """Raises ConfigError where no quality is measured, and where the model's own weights are what
    quality is measured beside."""
    from ...engines.quantization.checkpoints.read import read_scheme

    if not quality_tokens:
        raise ConfigError(_FIELD, reference, "unset with --quality-tokens 0")
    if engine.load_format == "dummy":
        raise ConfigError(_FIELD, reference, "unset with random weights, which have no quality")
    if read_scheme(files.directory) is None:
        allowed = f"unset: {files.name} was not quantised before, and is held against itself"
        raise ConfigError(_FIELD, reference, allowed)


def find_reference(
    reference: str,
    engine: ResolvedEngine,
    described: DecoderConfig,
    tokenizer: Tokenizer,
    corpus: tuple[str, Sequence[int]],
    report: Callable[[str], None],
) -> ModelFiles:
    """Its files. described, tokenizer: of the quantised model; corpus: a text and what they make of
    it, for distributions are compared word by word. Raises ConfigError for another quantised model
    and for one of other words, and as `resolve_model` does."""
    from ...engines.quantization.checkpoints.read import read_scheme

    found = resolve_model(reference, report)
    if read_scheme(found.directory) is not None:
        raise ConfigError(_FIELD, reference, "a model that is not quantised")
    theirs = describe_model(found.directory, engine.model_impl).config
    if theirs.vocab_size != described.vocab_size:
        allowed = f"a model of {described.vocab_size} words; it has {theirs.vocab_size}"
        raise ConfigError(_FIELD, reference, allowed)
    text, token_ids = corpus
    words = load_tokenizer(found.directory)
    same = words.vocab_size == tokenizer.vocab_size
    if not same or list(words.encode(text, add_special_tokens=False)) != list(token_ids):
        raise ConfigError(_FIELD, reference, "a model with the same tokenizer")
    return found
