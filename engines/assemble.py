"""From a configuration to an engine that runs: weights, KV room, policies, step loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import psutil
import torch

from ..kernels.choices import resolve_choices
from ..kernels.registry import select
from .clock import Clock
from .config import CPU_KV_MEMORY_BYTES, QUANT_METHODS, EngineConfig
from .core import EngineCore
from .errors import ConfigError, unknown_name
from .executors.torch import TorchExecutor
from .kv.base import KVCache
from .kv.paged import PagedKVCache
from .models.catalogue import ModelFiles
from .models.decoder import Decoder, DecoderConfig
from .models.describe import NATIVE, Described, describe_model
from .models.fused import select_step
from .models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from .models.llama import Llama
from .models.ops import select_attention_ops, select_ops
from .quantization.methods import LINEAR_OPS, load_weights, resolve_group_size
from .step import Limits
from .stopping import Decode
from .strategy import build_strategy, contiguous_defaults, swap_memory_bytes

CUDA_KV_MEMORY_SHARE = 0.9

Report = Callable[[str], None]


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights on a device, ready for any number of engines.

    kernels: which implementation runs each operation.
    """

    files: ModelFiles
    config: DecoderConfig
    model: Decoder
    kernels: dict[str, str]


def resolve(engine: EngineConfig, files: ModelFiles) -> EngineConfig:
    """The configuration with everything the model and the machine decide filled in.

    Reads the model's config.json, never its weights. Raises ConfigError for what cannot work.
    """
    if engine.quant not in QUANT_METHODS:
        raise unknown_name("quant", engine.quant, QUANT_METHODS)
    described = describe_model(files.directory, engine.model_impl)
    config = described.config
    device = device_of(engine.device)
    dtype = _dtype(engine.dtype, device)
    forced = _forced(engine, device, getattr(torch, dtype))
    limits = engine.limits(config.max_position_embeddings)
    kv_memory_bytes = engine.kv_memory_bytes or _default_kv_memory(device, config)
    resolved = replace(
        engine,
        model_impl=described.model_impl,
        group_size=_group_size(described, engine),
        device=str(device),
        dtype=dtype,
        max_model_len=limits.max_model_len,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        kv_memory_bytes=kv_memory_bytes,
        swap_memory_bytes=swap_memory_bytes(engine, kv_memory_bytes),
        force_kernels=forced,
        **contiguous_defaults(engine),
    )
    _check_kv_memory(resolved)
    _check_strategy(resolved, config, limits)
    return resolved


def _forced(engine: EngineConfig, device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """The kernels that were asked for, by their registered names; plugins among them are loaded.

    Raises KernelError for one that does not exist or does not run there.
    """
    chosen = resolve_choices(engine.force_kernels)
    for op in chosen:
        select(op, device, dtype, chosen)
    return tuple(f"{op}={name}" for op, name in chosen.items())


def _group_size(described: Described, engine: EngineConfig) -> int | None:
    if described.native is not None:
        return resolve_group_size(described.native, engine.quant, engine.group_size)
    if engine.quant != "none":
        allowed = f"none: {described.config.family} runs through transformers, unquantised"
        raise ConfigError("quant", engine.quant, allowed)
    return None


def _check_kv_memory(engine: EngineConfig) -> None:
    assert engine.kv_memory_bytes is not None
    device_bytes = _device_memory(torch.device(engine.device))
    if engine.kv_memory_bytes > device_bytes:
        asked = f"{engine.kv_memory_bytes} bytes"
        raise ConfigError("kv_memory", asked, f"at most the {device_bytes} of {engine.device}")


def _check_strategy(engine: EngineConfig, config: DecoderConfig, limits: Limits) -> None:
    """Everything that contradicts itself is found now, before a weight is read."""
    pool_tokens, host_tokens = _pool_tokens(engine, config)
    try:
        build_strategy(engine, limits, pool_tokens, host_tokens)
    except ConfigError as error:
        if error.field != "kv_memory":
            raise
        asked = f"{engine.kv_memory_bytes} bytes ({pool_tokens} tokens)"
        raise ConfigError("kv_memory", asked, error.allowed) from error


def _pool_tokens(engine: EngineConfig, config: DecoderConfig) -> tuple[int, int]:
    """Tokens that the KV pool and the host's room hold."""
    assert engine.kv_memory_bytes is not None
    bytes_per_token = config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
    return (
        engine.kv_memory_bytes // bytes_per_token,
        (engine.swap_memory_bytes or 0) // bytes_per_token,
    )


def load_model(
    files: ModelFiles, engine: EngineConfig, report: Report = lambda _: None
) -> LoadedModel:
    """Weights in the form `engine.quant` asks for. engine: as `resolve` returned it.

    report: told what a long load is doing, a line at a time.
    """
    if engine.model_impl != NATIVE:
        return _load_through_transformers(files, engine)
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    weights = load_weights(
        files.directory,
        engine.quant,
        group_size=engine.group_size,
        dtype=dtype,
        device=device,
        report=report,
        force_kernels=engine.forced,
    )
    step = select_step(device, dtype, engine.forced)
    model = Llama(
        weights.config,
        weights.source,
        select_ops(device, dtype, engine.forced),
        dtype=dtype,
        device=device,
        max_positions=engine.max_model_len,
        step=step,
    )
    fused = {} if model.step is None else {"decoder_step": str(step)}
    return LoadedModel(files, weights.config, model, kernels_of(engine) | fused)


def _load_through_transformers(files: ModelFiles, engine: EngineConfig) -> LoadedModel:
    from .models.hf import load_decoder
    from .models.hf_config import describe

    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    config = describe(files.directory)
    ops = select_attention_ops(device, dtype, engine.forced)
    model = load_decoder(files.directory, config, ops, dtype=dtype, device=device)
    return LoadedModel(files, config, model, kernels_of(engine))


def build_engine(
    loaded: LoadedModel, engine: EngineConfig, clock: Clock, decode: Decode | None = None
) -> EngineCore:
    """An engine with an empty KV cache. engine: as `resolve` returned it.

    decode: token ids to text; without it, requests with stop strings are refused.
    """
    limits = engine.limits(loaded.config.max_position_embeddings)
    strategy = build_strategy(engine, limits, *_pool_tokens(engine, loaded.config))
    kv = strategy.kv
    host_units = kv.host.num_blocks if isinstance(kv, PagedKVCache) else 0
    executor = TorchExecutor(loaded.model, _allocate(kv, loaded.config, engine), host_units)
    return EngineCore(strategy, executor, clock, loaded.config.eos_token_ids, decode)


def kernels_of(engine: EngineConfig) -> dict[str, str]:
    """Which of our implementations runs each operation of an engine. engine: as `resolve` returned
    it."""
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    plain = engine.kv_dtype == "auto"
    native = engine.model_impl == NATIVE
    cache = "" if plain else "quantized_"
    write = ["rope_cache_write"] if plain and native else [f"{cache}cache_write"]
    ops = [*write, f"{cache}{engine.kv}_attention"]
    if native:
        ops = [*LINEAR_OPS[engine.quant], "rms_norm", "add_rms_norm", "silu_mul", *ops]
        if not plain:
            ops.append("rope")
    return {op: select(op, device, dtype, engine.forced).name for op in [*ops, "sample"]}


def _allocate(kv: KVCache, config: DecoderConfig, engine: EngineConfig) -> KVTensors:
    dtype, device = getattr(torch, engine.dtype), torch.device(engine.device)
    try:
        if isinstance(kv, PagedKVCache):
            return allocate_paged(
                config, kv.num_blocks, kv.block_size, dtype, device, engine.kv_dtype
            )
        return allocate_contiguous(config, kv.capacity_tokens, dtype, device, engine.kv_dtype)
    except RuntimeError as error:  # torch's own out-of-memory errors derive from it
        asked = f"{engine.kv_memory_bytes} bytes"
        allowed = f"what {device} has free; lower --kv-memory"
        raise ConfigError("kv_memory", asked, allowed) from error


def device_of(name: str) -> torch.device:
    """The device of a name, the GPU for `auto` if there is one. Raises ConfigError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device", name, "cpu: this machine has no usable CUDA device")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError("device", name, "cpu, cuda or cuda:N") from error


def _dtype(name: str, device: torch.device) -> str:
    """auto: bfloat16 where the hardware computes it, else float32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"


def _device_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total


def _default_kv_memory(device: torch.device, config: DecoderConfig) -> int:
    """On a GPU, a share of what the weights will leave free; they are not loaded yet."""
    if device.type != "cuda":
        return CPU_KV_MEMORY_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    weight_bytes = 2 * config.parameter_count
    return max(0, int((free_bytes - weight_bytes) * CUDA_KV_MEMORY_SHARE))
