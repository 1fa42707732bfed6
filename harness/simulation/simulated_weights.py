"""How weights of a simulated model are stored: as a quantised checkpoint has them, or as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...engines.config import EngineConfig
from ...engines.cost.shapes import CONFIG_FILE, known_shapes
from ...engines.cost.weights import WeightChoice
from ...engines.errors import ConfigError
from ...engines.models.json_file import read_json
from ...engines.quantization.methods import check_activations


def settle_weights(
    engine: EngineConfig, model: str, file: Path
) -> tuple[EngineConfig, WeightChoice]:
    """The engine with the method that is priced, and how weights are stored: as in a quantised
    checkpoint, if the model is one. file: its config.json.

    Raises ConfigError for one whose config has another name, where no method is named.
    """
    if model.lower() in known_shapes() or file.name != CONFIG_FILE:
        if engine.quant == "auto" and read_json(file).get("quantization_config"):
            allowed = f"a method (--quant): how {file} is quantised is read of a {CONFIG_FILE} only"
            raise ConfigError("quant", "auto", allowed)
        quant = "none" if engine.quant == "auto" else engine.quant
        check_activations(quant, engine.quant_bits, engine.quant_activations)
        engine = replace(engine, quant=quant)
        return engine, WeightChoice.of(engine)
    from ...engines.quantization.auto import settle_quant_of, weights_of

    engine = settle_quant_of(engine, file.parent)
    return engine, weights_of(engine, file.parent)
