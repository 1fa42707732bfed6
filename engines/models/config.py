"""What a model is: its shape and constants, read from a Hugging Face `config.json`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ..errors import ModelError

DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# A KV cache of these holds codes, and beside each head's a scale in bfloat16.
KV_CODE_BYTES = {"int8": 1, "fp8": 1}
KV_SCALE_BYTES = 2
# In front of a layer's number in a parameter's name, and the output projection's module where it is
# not the embedding.
LAYERS = "model.layers."
HEAD = "lm_head"
# Each layer's weights are listed by name before any is read; published models have hundreds.
MOST_LAYERS = 10_000
# Sizes and token ids are 32-bit in every kernel and checkpoint.
MOST_OF_A_SIZE = 2**31 - 1


def kv_head_bytes(
    head_dim: int, dtype: str, kv_dtype: str, scale_bytes: int = KV_SCALE_BYTES
) -> int:
    """One head's key or value in the KV cache, its scale included; as `kv_bytes_per_token`."""
    if kv_dtype == "auto":
        return head_dim * DTYPE_BYTES[dtype]
    return head_dim * KV_CODE_BYTES[kv_dtype] + scale_bytes


class NotNativeError(ModelError):
    """A whole model that our own decoder does not compute; transformers may."""


@dataclass(frozen=True)
class LinearRopeScaling:
    """Position interpolation (Chen et al., 2023): every frequency divided by `factor`."""

    factor: float


@dataclass(frozen=True)
class Llama3RopeScaling:
    """Llama 3.1's scaling: long wavelengths divided by `factor`, short ones kept, a ramp between.

    The ramp lies between wavelengths of original_max_position_embeddings / low_freq_factor and
    / high_freq_factor tokens.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


RopeScaling = LinearRopeScaling | Llama3RopeScaling


@dataclass(frozen=True)
class ModelConfig:
    """A decoder of the Llama family.

    family: `llama`, `mistral`, `qwen2` or `qwen3`. sliding_window: how many tokens back a token
    attends, itself included; None: all. attention_bias: q, k and v have one; output_bias: o has
    one; mlp_bias: gate, up and down have one. qk_norm: RMSNorm over each head of q and k before
    the rotation. rope_scaling: None is the plain rotary embedding. dtype: as stored.
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    max_position_embeddings: int
    sliding_window: int | None
    attention_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    tie_word_embeddings: bool
    eos_token_ids: tuple[int, ...]
    dtype: str

    @property
    def q_size(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        return self.num_kv_heads * self.head_dim

    @property
    def parameter_count(self) -> int:
        """Parameters stored; a tied output projection counts once."""
        return sum(prod(shape) for shape in self.parameter_shapes().values())

    def shard(self, devices: int) -> ModelConfig:
        """What each of `devices` computes of a layer under tensor parallelism: its heads and its
        features of the MLP. KV heads that are fewer than the devices are held by several of them,
        as vLLM and TensorRT-LLM do. The rest is the whole model's.
        """
        return replace(
            self,
            num_heads=self.num_heads // devices,
            num_kv_heads=max(1, self.num_kv_heads // devices),
            intermediate_size=self.intermediate_size // devices,
        )

    def kv_bytes_per_token(
        self, dtype: str, kv_dtype: str = "auto", scale_bytes: int = KV_SCALE_BYTES
    ) -> int:
        """Keys and values of one token over all layers, the scales of a quantised cache included.

        dtype: the model's, a key of DTYPE_BYTES. kv_dtype: auto, or a key of KV_CODE_BYTES.
        scale_bytes: beside each head's codes; 0: of an engine that has one scale a tensor.
        """
        head_bytes = kv_head_bytes(self.head_dim, dtype, kv_dtype, scale_bytes)
        return 2 * self.num_layers * self.num_kv_heads * head_bytes

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter by its Hugging Face name; matrices are [out_features, in_features]."""
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab_size, self.hidden_size),
            "model.norm.weight": (self.hidden_size,),
        }
        if not self.tie_word_embeddings:
            shapes[f"{HEAD}.weight"] = (self.vocab_size, self.hidden_size)
        for layer in range(self.num_layers):
            for name, shape in self.layer_shapes().items():
                shapes[f"{LAYERS}{layer}.{name}"] = shape
        return shapes

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters of any one layer."""
        shapes: dict[str, tuple[int, ...]] = {
            "input_layernorm.weight": (self.hidden_size,),
            "post_attention_layernorm.weight": (self.hidden_size,),
        }
        if self.qk_norm:
            shapes["self_attn.q_norm.weight"] = (self.head_dim,)
            shapes["self_attn.k_norm.weight"] = (self.head_dim,)
        for name, (out_features, in_features) in self.layer_maps().items():
            shapes[f"{name}.weight"] = (out_features, in_features)
            if self._has_bias(name):
                shapes[f"{name}.bias"] = (out_features,)
        return shapes

    def layer_maps(self) -> dict[str, tuple[int, int]]:
        """[out_features, in_features] of each linear map of any one layer, by its name there."""
        hidden, inner = self.hidden_size, self.intermediate_size
        return {
            "self_attn.q_proj": (self.q_size, hidden),
            "self_attn.k_proj": (self.kv_size, hidden),
            "self_attn.v_proj": (self.kv_size, hidden),
            "self_attn.o_proj": (hidden, self.q_size),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }

    def map_shapes(self) -> dict[str, tuple[int, int]]:
        """The same of all layers, by module."""
        return {
            f"{LAYERS}{layer}.{name}": shape
            for layer in range(self.num_layers)
            for name, shape in self.layer_maps().items()
        }

    @property
    def head_name(self) -> str:
        """The output projection's module."""
        return "model.embed_tokens" if self.tie_word_embeddings else HEAD

    def _has_bias(self, name: str) -> bool:
        if name.startswith("mlp."):
            return self.mlp_bias
        return self.output_bias if name == "self_attn.o_proj" else self.attention_bias


FAMILIES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


def parse_config(
    data: Mapping[str, Any], generation: Mapping[str, Any] | None = None
) -> ModelConfig:
    """A config.json as transformers 4 or 5 writes it; defaults are those of its family there.

    generation: generation_config.json, whose end-of-text tokens are the ones `generate` stops at.
    Raises ModelError for an architecture, or anything in it, that this family does not compute.
    """
    family = _family(data)
    _refuse_what_is_not_computed(data)
    heads = _integer(data, "num_attention_heads")
    hidden_size = _integer(data, "hidden_size")
    kv_heads = _integer(data, "num_key_value_heads", 8 if family == "mistral" else heads)
    if heads % kv_heads:
        raise ModelError("num_key_value_heads", kv_heads, f"does not divide {heads} heads")
    head_dim = _integer(data, "head_dim", 128 if family == "qwen3" else hidden_size // heads)
    if head_dim % 2:
        raise ModelError("head_dim", head_dim, "is odd; a rotary embedding turns pairs")
    max_positions = _integer(data, "max_position_embeddings", _DEFAULT_POSITIONS[family])
    rope_theta, rope_scaling = _rope(data, max_positions)
    all_bias = family in ("llama", "qwen3") and _flag(data, "attention_bias")
    return ModelConfig(
        family=family,
        vocab_size=_integer(data, "vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=_integer(data, "intermediate_size"),
        num_layers=_integer(data, "num_hidden_layers", most=MOST_LAYERS),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=_number(data, "rms_norm_eps", 1e-6),
        rope_theta=rope_theta,
        rope_scaling=rope_scaling,
        max_position_embeddings=max_positions,
        sliding_window=_sliding_window(data, family),
        attention_bias=all_bias or family == "qwen2",
        output_bias=all_bias,
        mlp_bias=family == "llama" and _flag(data, "mlp_bias"),
        qk_norm=family == "qwen3",
        tie_word_embeddings=_flag(data, "tie_word_embeddings"),
        eos_token_ids=token_ids(generation or {}, "eos_token_id")
        or token_ids(data, "eos_token_id"),
        dtype=_dtype(data),
    )


_DEFAULT_POSITIONS = {"llama": 2048, "mistral": 131072, "qwen2": 32768, "qwen3": 32768}


def _family(data: Mapping[str, Any]) -> str:
    named = data.get("architectures") or [
        name for name, family in FAMILIES.items() if family == data.get("model_type")
    ]
    if not isinstance(named, list):
        raise ModelError("architectures", named, "in config.json; expected a list of names")
    architecture = str(named[0] if named else data.get("model_type"))
    if architecture not in FAMILIES:
        raise NotNativeError(
            "model", architecture, "is not supported; expected one of " + ", ".join(FAMILIES)
        )
    return FAMILIES[architecture]


def _refuse_what_is_not_computed(data: Mapping[str, Any]) -> None:
    activation = data.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise NotNativeError("hidden_act", activation, "is not supported; expected 'silu'")
    if data.get("partial_rotary_factor", 1.0) not in (None, 1, 1.0):
        raise NotNativeError(
            "partial_rotary_factor", data["partial_rotary_factor"], "is not supported; expected 1"
        )


def _sliding_window(data: Mapping[str, Any], family: str) -> int | None:
    """The window of every layer. Layers of both kinds in one model are refused: of a Mistral's
    `layer_types`, too, with which transformers makes it a Ministral."""
    if family == "llama":
        return None
    window, first_windowed = data.get("sliding_window", 4096), 0
    if family in ("qwen2", "qwen3"):
        if not _flag(data, "use_sliding_window"):
            window = None
        first_windowed = _integer(data, "max_window_layers", 28, least=0)
    kinds = data.get("layer_types") or [
        "full_attention" if window is None or layer < first_windowed else "sliding_attention"
        for layer in range(_integer(data, "num_hidden_layers", most=MOST_LAYERS))
    ]
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ModelError("layer_types", kinds, "in config.json; expected a list of names")
    other = [kind for kind in kinds if kind not in ("full_attention", "sliding_attention")]
    if other or len(set(kinds)) > 1:
        raise NotNativeError(
            "layer_types",
            sorted(set(kinds)),
            "are not supported; expected every layer full_attention or sliding_attention",
        )
    if window is None or kinds[0] == "full_attention":
        return None
    return _integer({"sliding_window": window}, "sliding_window")


def _rope(data: Mapping[str, Any], max_positions: int) -> tuple[float, RopeScaling | None]:
    """transformers 5 keeps all in `rope_parameters`; 4 had `rope_theta` beside `rope_scaling`."""
    parameters = data.get("rope_parameters") or data.get("rope_scaling") or {}
    if not isinstance(parameters, Mapping):
        raise ModelError("rope_parameters", parameters, "is not a mapping")
    theta = _number(parameters, "rope_theta", _number(data, "rope_theta", 10000.0))
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, LinearRopeScaling(_number(parameters, "factor"))
    if kind == "llama3":
        return theta, Llama3RopeScaling(
            factor=_number(parameters, "factor"),
            low_freq_factor=_number(parameters, "low_freq_factor"),
            high_freq_factor=_number(parameters, "high_freq_factor"),
            original_max_position_embeddings=_integer(
                parameters, "original_max_position_embeddings", max_positions
            ),
        )
    raise NotNativeError(
        "rope_type", kind, "is not supported; expected one of default, linear, llama3"
    )


def _integer(
    data: Mapping[str, Any],
    name: str,
    default: int | None = None,
    *,
    least: int = 1,
    most: int = MOST_OF_A_SIZE,
) -> int:
    value = data.get(name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ModelError(name, value, f"in config.json; expected an integer of at least {least}")
    if value > most:
        raise ModelError(name, value, f"in config.json; expected an integer of at most {most}")
    return value


def _number(data: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = data.get(name)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ModelError(name, value, "in config.json; expected a number above 0")
    return float(value)


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise ModelError(name, value, "in config.json; expected true or false")
    return value


def token_ids(data: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """One id, several or none, as config.json and generation_config.json may state them."""
    value = data.get(name)
    if value is None:
        return ()
    ids = value if isinstance(value, list) else [value]
    return tuple(_integer({name: token}, name, least=0) for token in ids)


def _dtype(data: Mapping[str, Any]) -> str:
    dtype = str(data.get("dtype") or data.get("torch_dtype") or "float32")
    if dtype not in DTYPE_BYTES:
        raise ModelError(
            "dtype", dtype, "is not supported; expected one of " + ", ".join(DTYPE_BYTES)
        )
    return dtype
