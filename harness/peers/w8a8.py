"""A checkpoint with 8-bit weights that vLLM serves: per-channel weights, per-token activations.

Rounded to nearest, which needs no data; the output projection stays as it is. Format:
compressed-tensors, `int-quantized` (https://github.com/vllm-project/compressed-tensors).
"""

from __future__ import annotations

from pathlib import Path


def write_w8a8(source: Path, target: Path) -> Path:
    """The Hugging Face directory `source` with 8-bit linear maps, at `target`; made once."""
    import torch

    from ...engines.models.loader import load_model_directory
    from ...engines.quantization.checkpoints.write import write_checkpoint
    from ...engines.quantization.rounding import rounded_model

    if not target.is_dir():
        config, weights = load_model_directory(source)
        model = rounded_model(config, weights, "w8a8", None, torch.device("cpu"))
        write_checkpoint(model, source, target, "compressed-tensors")
    return target
