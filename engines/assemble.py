"""From a configuration to an engine that runs: weights, KV room, policies, step loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import psutil
import torch

from ..kernels.registry import select
from .admission.optimistic import OptimisticAdmission
from .admission.reserve import ReserveAdmission
from .batching.mixed import MixedBatching
from .batching.separate import SeparateBatching
from .batching.static import StaticBatching
from .clock import Clock
from .config import EngineConfig
from .core import EngineCore, Strategy
from .errors import ConfigError
from .executors.torch import TorchExecutor
from .kv.base import KVCache
from .kv.contiguous import ContiguousKVCache
from .kv.paged import PagedKVCache
from .models.catalogue import ModelFiles
from .models.config import ModelConfig
from .models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from .models.llama import Llama
from .models.loader import load_config
from .models.ops import select_ops
from .quantization.methods import load_weights, resolve_group_size
from .step import Limits

CPU_KV_MEMORY_BYTES = 2**30
CUDA_KV_MEMORY_SHARE = 0.9

Report = Callable[[str], None]


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights on a device, ready for any number of engines.

    kernels: which implementation runs each operation.
    """

    files: ModelFiles
    config: ModelConfig
    model: Llama
    kernels: dict[str, str]


def resolve(engine: EngineConfig, files: ModelFiles) -> EngineConfig:
    """The configuration with everything the model and the machine decide filled in.

    Reads the model's config.json, never its weights. Raises ConfigError for what cannot work.
    """
    config = load_config(files.directory)
    device = _device(engine.device)
    dtype = _dtype(engine.dtype, device)
    limits = engine.limits(config.max_position_embeddings)
    resolved = replace(
        engine,
        group_size=resolve_group_size(config, engine.quant, engine.group_size),
        device=str(device),
        dtype=dtype,
        max_model_len=limits.max_model_len,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        kv_memory_bytes=engine.kv_memory_bytes or _default_kv_memory(device, config),
    )
    _check_kv_memory(resolved, config, limits)
    return resolved


def _check_kv_memory(engine: EngineConfig, config: ModelConfig, limits: Limits) -> None:
    """An engine must be able to serve one request of the longest kind, or it may serve none."""
    assert engine.kv_memory_bytes is not None
    device_bytes = _device_memory(torch.device(engine.device))
    if engine.kv_memory_bytes > device_bytes:
        asked = f"{engine.kv_memory_bytes} bytes"
        raise ConfigError("kv_memory", asked, f"at most the {device_bytes} of {engine.device}")
    tokens = engine.kv_memory_bytes // config.kv_bytes_per_token(engine.dtype)
    longest = limits.max_model_len
    unit = engine.block_size if engine.kv == "paged" else longest
    if tokens >= max(unit, longest):
        kv = _kv_cache(engine, config, limits)
        if _admission(engine).can_ever_hold(longest, kv):
            return
    raise ConfigError(
        "kv_memory",
        f"{engine.kv_memory_bytes} bytes ({tokens} tokens)",
        f"room for one request of max_model_len {longest} tokens, in whole blocks and above the "
        "admission watermark; raise --kv-memory or lower --max-model-len",
    )


def load_model(
    files: ModelFiles, engine: EngineConfig, report: Report = lambda _: None
) -> LoadedModel:
    """Weights in the form `engine.quant` asks for. engine: as `resolve` returned it.

    report: told what a long load is doing, a line at a time.
    """
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    weights = load_weights(
        files.directory,
        engine.quant,
        group_size=engine.group_size,
        dtype=dtype,
        device=device,
        report=report,
    )
    model = Llama(
        weights.config,
        weights.source,
        select_ops(device, dtype),
        dtype=dtype,
        device=device,
        max_positions=engine.max_model_len,
    )
    return LoadedModel(files, weights.config, model, _kernels(engine, device, dtype))


def build_engine(loaded: LoadedModel, engine: EngineConfig, clock: Clock) -> EngineCore:
    """An engine with an empty KV cache. engine: as `resolve` returned it."""
    limits = engine.limits(loaded.config.max_position_embeddings)
    kv = _kv_cache(engine, loaded.config, limits)
    strategy = Strategy(_batching(engine), _admission(engine), kv, limits)
    executor = TorchExecutor(loaded.model, _allocate(kv, loaded.config, engine))
    return EngineCore(strategy, executor, clock, loaded.config.eos_token_ids)


def _kernels(engine: EngineConfig, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    attention = f"{engine.kv}_attention"
    ops = ["linear", "rms_norm", "rope", "silu_mul", "cache_write", attention]
    if engine.quant != "none":
        ops.append("w4a16_linear")
    return {op: select(op, device, dtype).name for op in ops}


def _kv_cache(engine: EngineConfig, config: ModelConfig, limits: Limits) -> KVCache:
    assert engine.kv_memory_bytes is not None
    tokens = engine.kv_memory_bytes // config.kv_bytes_per_token(engine.dtype)
    if engine.kv == "contiguous":
        return ContiguousKVCache(tokens, limits.max_model_len)
    return PagedKVCache(tokens // engine.block_size, engine.block_size)


def _allocate(kv: KVCache, config: ModelConfig, engine: EngineConfig) -> KVTensors:
    dtype, device = getattr(torch, engine.dtype), torch.device(engine.device)
    try:
        if isinstance(kv, PagedKVCache):
            return allocate_paged(config, kv.num_blocks, kv.block_size, dtype, device)
        return allocate_contiguous(config, kv.capacity_tokens, dtype, device)
    except RuntimeError as error:  # torch's own out-of-memory errors derive from it
        asked = f"{engine.kv_memory_bytes} bytes"
        allowed = f"what {device} has free; lower --kv-memory"
        raise ConfigError("kv_memory", asked, allowed) from error


def _batching(engine: EngineConfig) -> SeparateBatching | MixedBatching | StaticBatching:
    if engine.batching == "mixed":
        return MixedBatching(chunked=engine.chunked_prefill)
    if engine.batching == "separate":
        return SeparateBatching(delay_factor=engine.delay_factor)
    return StaticBatching()


def _admission(engine: EngineConfig) -> OptimisticAdmission | ReserveAdmission:
    return OptimisticAdmission() if engine.admission == "optimistic" else ReserveAdmission()


def _device(name: str) -> torch.device:
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


def _default_kv_memory(device: torch.device, config: ModelConfig) -> int:
    """On a GPU, a share of what the weights will leave free; they are not loaded yet."""
    if device.type != "cuda":
        return CPU_KV_MEMORY_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    weight_bytes = 2 * config.parameter_count
    return max(0, int((free_bytes - weight_bytes) * CUDA_KV_MEMORY_SHARE))
