"""Who computes a model: our own code for the Llama family, transformers for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config import ModelConfig, NotNativeError
from .decoder import DecoderConfig
from .loader import load_config

NATIVE, TRANSFORMERS = "native", "transformers"


@dataclass(frozen=True)
class Described:
    """A model's facts, and the implementation that they are the facts of."""

    config: DecoderConfig
    model_impl: str

    @property
    def native(self) -> ModelConfig | None:
        """The config of our own decoder, if that is what computes the model."""
        return self.config if isinstance(self.config, ModelConfig) else None


def describe_model(directory: Path, model_impl: str = "auto") -> Described:
    """The model of a directory, without its weights.

    model_impl: `native` or `transformers`, or `auto`: native wherever it computes the model.
    Raises ModelError for a model that the implementation asked for does not compute.
    """
    if model_impl != TRANSFORMERS:
        try:
            return Described(load_config(directory), NATIVE)
        except NotNativeError:
            if model_impl == NATIVE:
                raise
    from .hf_config import describe

    return Described(describe(directory), TRANSFORMERS)
