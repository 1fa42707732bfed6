"""A Hugging Face directory: its config, then its parameters, mapped from safetensors files.

Everything that can be wrong with the files is found here, before a tensor is read: the
architecture from config.json, names, shapes and dtypes from the safetensors headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ModelError
from .config import ModelConfig, parse_config
from .json_file import read_json

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
# Kept in some old checkpoints; the rotary table is computed from the config.
_COMPUTED = ".rotary_emb.inv_freq"
_STORED_DTYPES = ("F32", "F16", "BF16")


class Checkpoint(Mapping[str, Tensor]):
    """Parameters by name, in their stored dtype, mapped from disk when asked for.

    Raises ModelError, naming the file, for one that is missing, truncated or corrupt.
    """

    def __init__(self, directory: Path) -> None:
        self._files: dict[str, Any] = {}
        for path, names in _shards(directory):
            file = _open(path)
            stored = file.keys()
            for name in sorted(set(names) - set(stored)):
                raise ModelError("model", str(path), f"lacks the tensor {name!r} of its index")
            for name in stored:
                if name in self._files:
                    problem = f"has the tensor {name!r}, which another shard has, too"
                    raise ModelError("model", str(path), problem)
                self._files[name] = file

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """From the file's header; reads no data."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def stored_dtype(self, name: str) -> str:
        """As safetensors spells it (F32, BF16, I8, …); reads no data."""
        return self._files[name].get_slice(name).get_dtype()


def weight_bytes(directory: Path) -> int:
    """Of the files that `Checkpoint` opens: others may lie beside them, as `consolidated` ones with
    the same weights. Raises ModelError."""
    return sum(path.stat().st_size for path, _ in _shards(directory))


def load_config(directory: Path) -> ModelConfig:
    """The model's config alone. Raises ModelError."""
    return parse_config(read_json(directory / "config.json"), load_generation_config(directory))


def load_generation_config(directory: Path) -> dict[str, Any]:
    """generation_config.json, empty where there is none. Raises ModelError."""
    path = directory / "generation_config.json"
    return read_json(path) if path.exists() else {}


def load_model_directory(directory: Path) -> tuple[ModelConfig, Checkpoint]:
    """Config and parameters, checked against each other. Raises ModelError.

    A model that is not supported is refused by its config, whatever its weights are; so is one that
    is quantised, which `quantization/checkpoints/` reads.
    """
    config = load_config(directory)
    quantized = read_json(directory / "config.json").get("quantization_config")
    if quantized:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise ModelError("quantization_config", method, "is there: the weights are quantised")
    checkpoint = Checkpoint(directory)
    _check_parameters(config, checkpoint, directory)
    return config, checkpoint


def check_tensor(
    checkpoint: Checkpoint,
    directory: Path,
    name: str,
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str] = _STORED_DTYPES,
) -> None:
    """Raises ModelError unless the tensor is there, in one of these shapes and dtypes."""
    if name not in checkpoint:
        raise ModelError("model", str(directory), f"lacks the tensor {name!r}")
    if checkpoint.shape(name) not in shapes:
        raise ModelError(
            "model",
            str(directory),
            f"has {name!r} of shape {list(checkpoint.shape(name))}; "
            f"its config.json asks for {list(shapes[0])}",
        )
    if checkpoint.stored_dtype(name) not in dtypes:
        raise ModelError(
            "model",
            str(directory),
            f"has {name!r} as {checkpoint.stored_dtype(name)}; expected one of {', '.join(dtypes)}",
        )


def is_tied_copy(name: str, config: ModelConfig, checkpoint: Checkpoint, directory: Path) -> bool:
    """Whether the tensor is the output projection of a tied model, once more: those of
    pytorch_model.bin have it. Raises ModelError where it is another: transformers computes with
    it, whatever config.json says."""
    if name != "lm_head.weight" or not config.tie_word_embeddings:
        return False
    head, embedding = checkpoint[name], checkpoint["model.embed_tokens.weight"]
    if head.dtype != embedding.dtype:
        head, embedding = head.float(), embedding.float()
    if not torch.equal(head, embedding):
        problem = (
            f"has {name!r}, which is not the embedding that its config.json ties it to; "
            'set "tie_word_embeddings": false there to compute with it'
        )
        raise ModelError("model", str(directory), problem)
    return True


def _check_parameters(config: ModelConfig, checkpoint: Checkpoint, directory: Path) -> None:
    expected = config.parameter_shapes()
    for name, shape in expected.items():
        check_tensor(checkpoint, directory, name, [shape])
    for name in checkpoint:
        # A parameter left out would change what the model computes without a word.
        if name in expected or name.endswith(_COMPUTED):
            continue
        if not is_tied_copy(name, config, checkpoint, directory):
            raise ModelError(
                "model", str(directory), f"has the tensor {name!r}, which its config.json does not"
            )


def _open(path: Path) -> Any:
    try:
        # safetensors says of whatever it cannot open that it does not exist.
        path.open("rb").close()
        return safe_open(path, framework="pt")
    except OSError as error:
        raise ModelError("model", str(path), f"cannot be read ({error.strerror})") from error
    except SafetensorError as error:
        first_line = str(error).partition("\n")[0]
        problem = f"is not a whole safetensors file ({first_line})"
        raise ModelError("model", str(path), problem) from error


def _shards(directory: Path) -> list[tuple[Path, Sequence[str]]]:
    """Files to open, each with the names that it must have."""
    index = directory / INDEX_FILE
    if index.exists():
        return _indexed(directory, read_json(index).get("weight_map"))
    if (directory / SINGLE_FILE).is_file():
        return [(directory / SINGLE_FILE, ())]
    # AutoGPTQ and AutoAWQ named theirs after the settings: gptq_model-4bit-128g.safetensors.
    named = sorted(path for path in directory.glob("*.safetensors") if path.is_file())
    if len(named) == 1:
        return [(named[0], ())]
    if named:
        files = ", ".join(path.name for path in named)
        raise ModelError("model", str(directory), f"has {files} and no {INDEX_FILE}")
    pickled = sorted(path.name for path in directory.glob("pytorch_model*.bin"))
    if pickled:
        raise ModelError(
            "model",
            str(directory),
            f"has its weights in {pickled[0]!r}, which can run code when read; "
            f"expected safetensors ({SINGLE_FILE} or {INDEX_FILE})",
        )
    # Of the hub's models pickled weights are never fetched, so that they are not here to be named.
    problem = (
        f"has no weights: neither {SINGLE_FILE} nor {INDEX_FILE}; weights that are pickled "
        "(pytorch_model.bin) can run code when read, and are not fetched"
    )
    raise ModelError("model", str(directory), problem)


def _indexed(directory: Path, weight_map: object) -> list[tuple[Path, Sequence[str]]]:
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError("model", str(directory / INDEX_FILE), "has no weight_map")
    by_file: dict[str, list[str]] = {}
    for name, file in weight_map.items():
        # A path would lead out of the directory.
        if not isinstance(file, str) or Path(file).name != file:
            problem = f"puts {name!r} in {file!r}; expected a file's name"
            raise ModelError("model", str(directory / INDEX_FILE), problem)
        by_file.setdefault(file, []).append(name)
    for file in by_file:
        if not (directory / file).is_file():
            raise ModelError("model", str(directory), f"lacks the shard {file!r} of its index")
    return [(directory / file, names) for file, names in by_file.items()]
