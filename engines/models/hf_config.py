"""What a model without native code is: its shape, by following one pass that computes nothing.

The model is built on PyTorch's meta device, which has shapes and no memory, and is asked what its
layers want of attention. So the facts are those of the code that will run, for any architecture.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from ..errors import ModelError
from .config import DTYPE_BYTES, MOST_LAYERS, kv_head_bytes, token_ids
from .hf_attention import TRACED, AttentionLayer, tracing
from .json_file import read_json
from .loader import load_generation_config

_TRACED_TOKENS = 3
_AROUND = "does not run through transformers' attention interface"


@dataclass(frozen=True)
class TransformersConfig:
    """A decoder that transformers computes. windows: a layer's sliding window, None for all."""

    family: str
    architecture: str
    vocab_size: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    windows: tuple[int | None, ...]
    max_position_embeddings: int
    eos_token_ids: tuple[int, ...]
    dtype: str
    parameter_count: int

    def kv_bytes_per_token(self, dtype: str, kv_dtype: str = "auto") -> int:
        """As `DecoderConfig.kv_bytes_per_token`."""
        head_bytes = kv_head_bytes(self.head_dim, dtype, kv_dtype)
        return 2 * self.num_layers * self.num_kv_heads * head_bytes


def describe(directory: Path) -> TransformersConfig:
    """The model of a Hugging Face directory, from its config.json alone.

    Raises ModelError, naming what is not computed, for a model that keeps anything but one key
    and one value a token and layer, or that asks more of attention than the kernels compute.
    """
    data = read_json(directory / "config.json")
    quantization = data.get("quantization_config")
    if quantization:
        problem = "checkpoints are not supported; expected weights in " + ", ".join(DTYPE_BYTES)
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise ModelError("quantization_config", method or quantization, problem)
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
        text = config.get_text_config(decoder=True)
        _check_depth(text)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config,
                attn_implementation=TRACED,
                # The others are chosen by hardware, which a meta device is not.
                experts_implementation="eager",
                trust_remote_code=False,
            ).eval()
    except ModelError:
        raise
    except Exception as error:  # what a config can do wrong is up to each architecture
        named = str((data.get("architectures") or [data.get("model_type")])[0])
        # Models from before the interface choose among classes of their own, by name.
        around = isinstance(error, KeyError) and error.args == (TRACED,)
        problem = _AROUND if around else "cannot be built by transformers"
        raise ModelError("model", named, f"{problem} ({_cause(error)})") from error
    name = type(model).__name__
    _check_named(data, name)
    _check_packable(model, name)
    max_positions = _max_positions(model, text, name)
    layers, vocab_size = _follow(model, name)
    first = _uniform(layers, text.num_hidden_layers, name)
    _check_cache(text, layers, name)
    ends = token_ids(load_generation_config(directory), "eos_token_id")
    return TransformersConfig(
        family=str(config.model_type),
        architecture=name,
        vocab_size=vocab_size,
        num_layers=len(layers),
        num_kv_heads=first.kv_heads,
        head_dim=first.key_dim,
        windows=tuple(layer.window for layer in layers),
        max_position_embeddings=max_positions,
        eos_token_ids=ends or token_ids(vars(text), "eos_token_id"),
        dtype=_stored_dtype(text),
        parameter_count=sum(parameter.numel() for parameter in model.parameters()),
    )


def takes(model: Any, argument: str) -> bool:
    """Whether the model's forward names `argument`."""
    return argument in inspect.signature(model.forward).parameters


def _check_depth(text: Any) -> None:
    """A model is built layer by layer, be it without weights."""
    depth = getattr(text, "num_hidden_layers", None)
    if isinstance(depth, int) and depth > MOST_LAYERS:
        problem = f"in config.json; expected an integer of at most {MOST_LAYERS}"
        raise ModelError("num_hidden_layers", depth, problem)


def _check_named(data: dict[str, Any], built: str) -> None:
    """transformers goes by `model_type` alone: of an encoder or a classifier it would build the
    language model of that family, and compute something else than the checkpoint is. But a
    Mistral with `layer_types` is the Ministral that it builds."""
    named = [str(one) for one in data.get("architectures") or ()]
    if data.get("model_type") == "mistral" and "layer_types" in data:
        named = ["MinistralForCausalLM" if one == "MistralForCausalLM" else one for one in named]
    if named and built.casefold() not in (one.casefold() for one in named):
        problem = f"is what its config.json names; transformers would build {built} of it"
        raise ModelError("model", named[0], problem)


def _check_packable(model: Any, name: str) -> None:
    """What a model says of itself that rules it out."""
    if model._is_stateful:
        raise ModelError("model", name, "keeps a recurrent state, which is not computed")
    if not takes(model, "position_ids"):
        raise ModelError("model", name, "takes no position_ids, so sequences cannot be packed")


def _follow(model: Any, name: str) -> tuple[list[AttentionLayer], int]:
    """The layers by index, and the width of the logits."""
    for module in model.modules():
        if kinds := getattr(module, "rope_type", None):
            # Frequencies that follow the positions would be compared with values that are not here.
            module.rope_type = (
                dict.fromkeys(kinds, "default") if isinstance(kinds, dict) else "default"
            )
    ids = torch.zeros(1, _TRACED_TOKENS, dtype=torch.int64, device="meta")
    try:
        with torch.inference_mode(), _NothingFound(), tracing() as layers:
            # Without a padding mask transformers would look at the positions for packed sequences.
            logits = model(
                input_ids=ids,
                position_ids=torch.zeros_like(ids),
                attention_mask=torch.ones_like(ids),
                use_cache=False,
            ).logits
    except ModelError:
        raise
    except Exception as error:  # a model that goes around the interface may fail in any way
        raise ModelError("model", name, f"{_AROUND} ({_cause(error)})") from error
    return sorted(layers, key=lambda layer: layer.index), logits.shape[-1]


class _NothingFound(TorchDispatchMode):
    """Experts that loop over the tokens they were given are given none: a router's choice has no
    value here, and attention does not depend on it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.nonzero.default and args[0].is_meta:
            return torch.empty(0, args[0].ndim, dtype=torch.int64, device="meta")
        return func(*args, **(kwargs or {}))


def _uniform(layers: list[AttentionLayer], expected: int, name: str) -> AttentionLayer:
    """Any layer, after checking that one KV cache of one shape holds them all."""
    if [layer.index for layer in layers] != list(range(expected)):
        problem = f"attends in {len(layers)} of {expected} layers' places; expected once in each"
        raise ModelError("model", name, problem)
    shapes = sorted({(layer.kv_heads, layer.key_dim, layer.value_dim) for layer in layers})
    first = layers[0]
    if len(shapes) > 1:
        shown = " and ".join(f"{heads} x {key_dim}" for heads, key_dim, _ in shapes)
        raise ModelError("model", name, f"has layers of {shown} keys, which share no KV cache")
    if first.key_dim != first.value_dim:
        problem = f"has keys of {first.key_dim} and values of {first.value_dim}; expected equal"
        raise ModelError("model", name, problem)
    if any(layer.query_heads % layer.kv_heads for layer in layers):
        problem = f"{first.query_heads} heads are not a multiple of {first.kv_heads} KV heads"
        raise ModelError("model", name, problem)
    return first


def _check_cache(text: Any, layers: list[AttentionLayer], name: str) -> None:
    """transformers' own cache must not forget what the masks let a token see: `generate` and one
    whole pass would then differ, and there is no saying which of them the model is."""
    # Layers that share another's keys and values have no cache there; they come last.
    for layer, cached in zip(layers, DynamicCache(config=text).layers, strict=False):
        kept = getattr(cached, "sliding_window", None)
        if kept is not None and (layer.window is None or kept < layer.window):
            problem = f"has a mask of {layer.window or 'all'} tokens and a cache of {kept}"
            raise ModelError("model", name, problem)


def _max_positions(model: Any, text: Any, name: str) -> int:
    """The model's length; for LongRoPE, the length up to which its frequencies stay the same.

    Beyond it a pass takes the long frequencies for all its tokens, so that a request's tokens
    would depend on its company.
    """
    length = getattr(text, "max_position_embeddings", None)
    if not isinstance(length, int):
        raise ModelError("model", name, "states no max_position_embeddings")
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        named = kinds.items() if isinstance(kinds, dict) else [(None, kinds)]
        for layer_type, kind in named:
            if kind == "longrope":
                parameters = text.rope_parameters
                parameters = parameters[layer_type] if layer_type else parameters
                length = min(length, parameters["original_max_position_embeddings"])
    return length


def _stored_dtype(text: Any) -> str:
    dtype = str(text.dtype or "float32").removeprefix("torch.")
    if dtype not in DTYPE_BYTES:
        allowed = "is not supported; expected one of " + ", ".join(DTYPE_BYTES)
        raise ModelError("dtype", dtype, allowed)
    return dtype


def _cause(error: Exception) -> str:
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
