"""Every setting of an engine, from a preset and overrides, checked before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from .admission.base import Preemption
from .batching.inflight import Chunking
from .errors import ConfigError, unknown_name
from .kv.contiguous import ArenaKind, Reservation
from .presets import ADMISSION, BATCHING, KV, MIXING, find_preset
from .quantization.methods import ACTIVATIONS, HEADS, METHODS, split_quant
from .reads import READ_UNDER, why_unread
from .step import Limits

# What a real engine computes; auto: what the checkpoint is.
QUANT_METHODS = ("auto", "none", *METHODS)
DTYPES = ("auto", "float32", "bfloat16", "float16")
KV_DTYPES = ("auto", "fp8", "int8")
DEVICES = ("auto", "cpu", "cuda")
MODEL_IMPLS = ("auto", "native", "transformers")
LOAD_FORMATS = ("auto", "dummy")
CUDA_GRAPHS = ("auto", "on", "off")

CPU_KV_MEMORY_BYTES = 2**30
LARGEST = 10**18  # of any count: a float and 64 bits hold it, and products of it
DEFAULT_MAX_NUM_SEQS = 256  # vLLM's default
# A step that computes prompts whole has room for the longest there may be, as in vLLM v0.
LEAST_DEFAULT_BATCHED_TOKENS = 2048
# One that may cut them needs none: what vLLM v1 serves with on an H100 and TensorRT-LLM anywhere.
MOST_CHUNKED_BATCHED_TOKENS = 8192


@dataclass(frozen=True)
class EngineConfig:
    """What is asked of an engine. None and `auto` leave it to the model or the machine; with all of
    it decided it is a `ResolvedEngine`.

    kv_memory_bytes: room for keys and values. kv_dtype: what they are stored as; `auto` is dtype.
    max_model_len: prompt and output of one request.
    quant: a method, none, or auto: as the checkpoint is.
    group_size: input features that share a 4-bit scale; None picks the largest that divides.
    quant_bits: of a weight, where a checkpoint has others than its method's usual.
    quant_activations: int8 rounds those that meet 4-bit weights; auto: as the method has them.
    quant_head: how the output projection is rounded; auto: as the method or the checkpoint has it.
    model_impl: who computes the model, native code or transformers; auto: native if there is any.
    force_kernels: `op=implementation`, as `kernels/choices.py` reads it; the rest is chosen.
    load_format: auto reads the model's weights; dummy draws them at random, from its config alone.
    async_scheduling: whether a step is prepared while another runs; None: on a GPU.
    cuda_graphs: whether decode steps are captured once and replayed; auto: where they can be.

    What is read under some choices only stands in `reads.py`.
    mixing: whose way of mixing (`batching/unified.py`, `inflight.py`, `sarathi.py`).
    chunked_prefill: whether a prompt may be split over steps; long_prefill_tokens: the most tokens
    of one prompt in a step (0: no such limit). chunking, chunk_unit: see `inflight.py`.
    whole_prompt_fits: see `unified.py`. delay_factor: how many prompt-step latencies separate
    batching waits for more prompts to gather.
    watermark: the share of blocks kept free when a request starts. preemption: what becomes of
    those who must make room, with swap_memory_bytes of room on the host.
    """

    engine: str
    stands_for: str
    batching: str
    admission: str
    kv: str
    block_size: int
    quant: str = "auto"
    group_size: int | None = None
    quant_bits: int | None = None
    quant_activations: str = "auto"
    quant_head: str = "auto"
    max_num_seqs: int = DEFAULT_MAX_NUM_SEQS
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    kv_memory_bytes: int | None = None
    kv_dtype: str = "auto"
    mixing: str = "inflight"
    chunked_prefill: bool = True
    chunking: Chunking = "fcfs"
    chunk_unit: int | None = None
    long_prefill_tokens: int = 0
    whole_prompt_fits: bool = False
    delay_factor: float = 0.0
    watermark: float = 0.01
    preemption: Preemption = "recompute"
    swap_memory_bytes: int | None = None
    prefix_cache: bool = False
    kv_reservation: Reservation | None = None
    arena: ArenaKind | None = None
    dtype: str = "auto"
    device: str = "auto"
    model_impl: str = "auto"
    force_kernels: tuple[str, ...] = ()
    load_format: str = "auto"
    async_scheduling: bool | None = None
    cuda_graphs: str = "auto"

    def __post_init__(self) -> None:
        _one_of("batching", self.batching, BATCHING)
        _one_of("admission", self.admission, ADMISSION)
        _one_of("kv", self.kv, KV)
        _one_of("quant", self.quant, QUANT_METHODS)
        _one_of("quant_activations", self.quant_activations, ACTIVATIONS)
        _one_of("quant_head", self.quant_head, HEADS)
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("kv_dtype", self.kv_dtype, KV_DTYPES)
        _one_of("model_impl", self.model_impl, MODEL_IMPLS)
        _one_of("load_format", self.load_format, LOAD_FORMATS)
        _one_of("cuda_graphs", self.cuda_graphs, CUDA_GRAPHS)
        if self.device not in DEVICES and not self.device.startswith("cuda:"):
            raise unknown_name("device", self.device, DEVICES)
        if self.quant_bits not in (None, 4, 8):
            raise ConfigError("quant_bits", self.quant_bits, "4 or 8")
        _one_of("mixing", self.mixing, MIXING)
        _one_of("chunking", self.chunking, get_args(Chunking))
        _one_of("preemption", self.preemption, get_args(Preemption))
        for name, value, allowed in (
            ("kv_reservation", self.kv_reservation, get_args(Reservation)),
            ("arena", self.arena, get_args(ArenaKind)),
        ):
            if value is not None:
                _one_of(name, value, allowed)
        for name in ("delay_factor", "long_prefill_tokens"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ConfigError(name, getattr(self, name), f"0 or more, at most {LARGEST:.0e}")
        if not 0 <= self.watermark < 1:
            raise ConfigError("watermark", self.watermark, "0 or more and less than 1")
        for field in (
            "block_size",
            "group_size",
            "max_num_seqs",
            "max_num_batched_tokens",
            "max_model_len",
            "kv_memory_bytes",
            "chunk_unit",
            "swap_memory_bytes",
        ):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(field, value, "at least 1")
            if value is not None and value > LARGEST:
                raise ConfigError(field, value, f"at most {LARGEST:.0e}")
        self._check_choices_agree()

    def _check_choices_agree(self) -> None:
        """What no engine can be. A setting that is not read does no harm here: a factorial crosses
        settings, and has an axis of no effect there; where it is chosen `engine_config` refuses it.
        """
        for name, value, allowed in (
            ("prefix_cache", True, "False"),
            ("preemption", "swap", "recompute"),
        ):
            if getattr(self, name) == value and (why := why_unread(name, vars(self))):
                raise ConfigError(name, value, f"{allowed} {why}")
        for name in ("kv_reservation", "arena"):
            value = getattr(self, name)
            if value is not None and (why := why_unread(name, vars(self))):
                raise ConfigError(name, value, f"unset {why}")
        if self.long_prefill_tokens and not self.chunked_prefill:
            raise ConfigError(
                "long_prefill_tokens", self.long_prefill_tokens, "0 without chunked prefill"
            )
        if 0 < self.long_prefill_tokens < (self.chunk_unit or 1):
            raise ConfigError(
                "chunk_unit",
                self.chunk_unit,
                f"at most long_prefill_tokens ({self.long_prefill_tokens})",
            )

    @property
    def forced(self) -> dict[str, str]:
        """operation -> implementation, of `force_kernels`."""
        return dict(choice.split("=", 1) for choice in self.force_kernels)

    @property
    def cuts_prompts(self) -> bool:
        """Whether a prompt longer than a step is split over several. Batching that does not read
        whether it may does, but for `separate`."""
        return _cuts_prompts(vars(self))

    def limits_for(self, model_len: int) -> Limits:
        """The step budgets for a model of at most `model_len` positions."""
        max_model_len = self.max_model_len or model_len
        if max_model_len > model_len:
            raise ConfigError("max_model_len", max_model_len, f"at most the model's {model_len}")
        return Limits(
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens or self._usual_budget(max_model_len),
            max_model_len=max_model_len,
        )

    def _usual_budget(self, max_model_len: int) -> int:
        """Tokens of a step when nothing is said."""
        whole = max(max_model_len, LEAST_DEFAULT_BATCHED_TOKENS)
        return min(whole, MOST_CHUNKED_BATCHED_TOKENS) if _mixes_chunks(vars(self)) else whole


def engine_config(engine: str = "paged", **overrides: Any) -> EngineConfig:
    """A preset with overrides: any field of EngineConfig by name; None keeps what is there. A quant
    of `awq+a8+int8-head` is three of them.

    Raises ConfigError for an unknown preset, setting or value, with the nearest spelling, and for
    a setting that the others keep from being read.

    >>> engine_config("paged", batching="mixed").batching
    'mixed'
    """
    preset = find_preset(engine)
    settings = {field.name for field in fields(EngineConfig)} - {"engine", "stands_for"}
    for name in (*overrides, *preset.settings):
        if name not in settings:
            raise unknown_name("setting", name, settings)
    chosen = _split({name: value for name, value in overrides.items() if value is not None})
    row = preset.row
    # What a preset says of its own choices falls away with them, unless the user says it, too. What
    # it says against its own choices stays, and is refused.
    asked = row | chosen
    fallen = {
        name
        for name in preset.settings.keys() - chosen.keys()
        if why_unread(name, asked) and not why_unread(name, row)
    }
    # Its tokens of a step are the chunk of its mixing, and too few for prompts computed whole.
    if _mixes_chunks(row) and not _mixes_chunks(asked):
        fallen |= {_CHUNK} - chosen.keys()
    config = EngineConfig(
        engine=preset.name,
        stands_for=preset.stands_for,
        **{name: value for name, value in asked.items() if name not in fallen},  # pyright: ignore[reportArgumentType]
    )
    for name in (*preset.settings, *chosen):
        why = why_unread(name, vars(config))
        # A default changes nothing, and is not refused; of what every preset says there is none.
        if why and (name in _SAID_BY_ALL or getattr(config, name) != _default(name)):
            raise ConfigError(name, getattr(config, name), f"unset {why}")
    return config


def with_choices(engine: EngineConfig, **overrides: Any) -> EngineConfig:
    """The same engine with other choices; what meant something under the old ones only goes back
    to its default. Raises ConfigError as `engine_config` does."""
    changes = _split(overrides)
    before, after = vars(engine), vars(engine) | changes
    for name in READ_UNDER.keys() - _SAID_BY_ALL - changes.keys():
        if why_unread(name, after) and not why_unread(name, before):
            changes[name] = _default(name)
    preset_chunk = find_preset(engine.engine).settings.get(_CHUNK)
    if _mixes_chunks(before) and not _mixes_chunks(after) and before[_CHUNK] == preset_chunk:
        changes.setdefault(_CHUNK, _default(_CHUNK))
    return replace(engine, **changes)


def _cuts_prompts(settings: Mapping[str, Any]) -> bool:
    may = settings.get("chunked_prefill", _default("chunked_prefill"))
    unread = bool(why_unread("chunked_prefill", settings))
    return settings["batching"] != "separate" and (may or unread)


def _mixes_chunks(settings: Mapping[str, Any]) -> bool:
    return settings["batching"] == "mixed" and _cuts_prompts(settings)


def _split(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """With the three settings that `quant` may say, of which a method alone resets the others."""
    changes = dict(overrides)
    if "quant" in changes:
        parts = split_quant(changes["quant"])
        changes["quant"] = parts.method
        for name, said in (("quant_activations", parts.activations), ("quant_head", parts.head)):
            if said != "auto" or name not in changes:
                changes[name] = said
    return changes


# The tokens of a step, where prompts are mixed in by chunks.
_CHUNK = "max_num_batched_tokens"

# Every preset says these, for when a choice gives them a meaning.
_SAID_BY_ALL = frozenset({"mixing", "block_size"})


def _default(name: str) -> Any:
    return EngineConfig.__dataclass_fields__[name].default


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise unknown_name(field, value, allowed)
