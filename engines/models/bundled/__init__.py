"""The bundled model: weights, tokenizer, calibration and held-out text shipped as package data.

README.md in this folder is the model card; `train` is the script that made the files.
"""

from pathlib import Path


def model_directory() -> Path:
    """The Hugging Face model directory: config.json, model.safetensors, tokenizer.json, README."""
    return Path(__file__).parent


def calibration_text() -> str:
    """Public-domain text for calibrating quantisers, all of it from the training data."""
    return (model_directory() / "calibration.txt").read_text(encoding="utf-8")


def heldout_text() -> str:
    """Public-domain text the model never saw, for perplexity."""
    return (model_directory() / "heldout.txt").read_text(encoding="utf-8")
