"""What the model and the machine decide of a configuration, and whether the rest agrees with it.

No weight is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from ..kernels.choices import resolve_choices
from ..kernels.registry import select
from ..kernels.triton.attention import LARGEST_HEAD_DIM
from .config import CPU_KV_MEMORY_BYTES, EngineConfig
from .cost.weights import WeightChoice
from .cost.work import model_work
from .device import choose_dtype, find_device, memory_bytes_of
from .errors import ConfigError
from .models.catalogue import ModelFiles
from .models.config import DTYPE_BYTES
from .models.decoder import DecoderConfig
from .models.describe import NATIVE, Described, describe_model
from .models.ops import cache_ops
from .quantization.auto import published_for, settle_quant
from .quantization.checkpoints.read import Published
from .quantization.methods import find_method, linear_ops
from .quantization.scheme import resolve_group_size
from .resolved import ResolvedEngine
from .room import kv_room_bytes, said, taken_beside_weights
from .step import Limits
from .strategy import build_strategy


def resolve(engine: EngineConfig, files: ModelFiles) -> ResolvedEngine:
    """The engine with everything that the model and the machine decide.

    Reads the model's config.json, never its weights. Raises ConfigError for what cannot work.
    """
    described = describe_model(files.directory, engine.model_impl)
    config = described.config
    published = _published(files, engine, described)
    asked, engine = engine.quant, settle_quant(engine, published)
    if published is None:
        _check_method(engine)
        if asked == "auto" and engine.group_size is not None:
            allowed = "unset: the checkpoint is not quantised, and quant names no method"
            raise ConfigError("group_size", engine.group_size, allowed)
    device = find_device(engine.device)
    # Plugins among them are loaded.
    forced = resolve_choices(engine.force_kernels)
    dtype = choose_dtype(engine.dtype, device, _linear_ops(engine, described), forced)
    _check_forced(forced, device, getattr(torch, dtype))
    if engine.load_format == "dummy" and described.native is None:
        allowed = f"auto: {config.family} runs through transformers, which reads its weights"
        raise ConfigError("load_format", "dummy", allowed)
    limits = engine.limits_for(config.max_position_embeddings)
    on_gpu = device.type == "cuda"
    engine = replace(
        engine,
        model_impl=described.model_impl,
        device=str(device),
        dtype=dtype,
        force_kernels=tuple(f"{op}={name}" for op, name in forced.items()),
        async_scheduling=on_gpu if engine.async_scheduling is None else engine.async_scheduling,
    )
    engine = replace(
        engine,
        cuda_graphs=_cuda_graphs(engine, config),
        group_size=engine.group_size if published else _group_size(described, engine),
    )
    kv_memory_bytes = engine.kv_memory_bytes or _default_kv_memory(
        device, described, engine, WeightChoice.of(engine, published), limits
    )
    resolved = ResolvedEngine.of(engine, limits=limits, kv_memory_bytes=kv_memory_bytes)
    _check_kv_memory(resolved)
    _check_strategy(resolved, config)
    return resolved


def _linear_ops(engine: EngineConfig, described: Described) -> tuple[str, ...]:
    """Of a model that our own code computes; of another none. engine: its method is settled."""
    if described.native is None:
        return ()
    return linear_ops(engine.quant, engine.quant_head, engine.quant_activations)


def _check_forced(forced: Mapping[str, str], device: torch.device, dtype: torch.dtype) -> None:
    """Raises KernelError for a kernel that was asked for and does not run there."""
    for op in forced:
        select(op, device, dtype, forced)


def _published(files: ModelFiles, engine: EngineConfig, described: Described) -> Published | None:
    """The model's checkpoint, if it is quantised and the engine's weights are like it."""
    return None if described.native is None else published_for(engine, files.directory)


def _check_method(engine: EngineConfig) -> None:
    """Of a plain checkpoint. Raises ConfigError for what nothing here quantises by."""
    plain = "the checkpoint is not quantised"
    if engine.quant_bits is not None:
        raise ConfigError("quant_bits", engine.quant_bits, f"unset: {plain}")
    if engine.quant == "none" or engine.load_format == "dummy":
        return
    if find_method(engine.quant).published:
        raise ConfigError("quant", engine.quant, f"a method that quantises: {plain}")


def _group_size(described: Described, engine: EngineConfig) -> int | None:
    if described.native is not None:
        return resolve_group_size(described.native, engine.quant, engine.group_size)
    allowed = f"none: {described.config.family} runs through transformers, unquantised"
    if engine.quant != "none":
        raise ConfigError("quant", engine.quant, allowed)
    if engine.quant_head not in ("auto", "none"):
        raise ConfigError("quant_head", engine.quant_head, allowed)
    return None


def _check_kv_memory(engine: ResolvedEngine) -> None:
    device_bytes = memory_bytes_of(torch.device(engine.device))
    if engine.kv_memory_bytes > device_bytes:
        asked = f"{engine.kv_memory_bytes} bytes"
        raise ConfigError("kv_memory", asked, f"at most the {device_bytes} of {engine.device}")


def _check_strategy(engine: ResolvedEngine, config: DecoderConfig) -> None:
    """Everything that contradicts itself is found now, before a weight is read."""
    bytes_per_token = config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
    try:
        build_strategy(engine, bytes_per_token)
    except ConfigError as error:
        if error.field != "kv_memory":
            raise
        held = engine.pool_tokens(bytes_per_token)
        asked = f"{engine.kv_memory_bytes} bytes ({held} tokens)"
        raise ConfigError("kv_memory", asked, error.allowed) from error


def _default_kv_memory(
    device: torch.device,
    described: Described,
    engine: EngineConfig,
    weights: WeightChoice,
    limits: Limits,
) -> int:
    """On a GPU, a share of what weights, graphs and the largest step will leave free; none of them
    is there yet. What a step of a model of transformers takes is not known, and not counted.

    Raises ConfigError where nothing is left.
    """
    if device.type != "cuda":
        return CPU_KV_MEMORY_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    # PyTorch keeps what engines before this one gave back, and the driver counts it as taken.
    free_bytes += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if described.native is None:
        taken_bytes = {"weights": DTYPE_BYTES[engine.dtype] * described.config.parameter_count}
    else:
        native = replace(described.native, dtype=engine.dtype)
        stored_bytes = int(model_work(native, weights).stored_bytes)
        graphs = engine.cuda_graphs == "on"
        beside = taken_beside_weights(native, weights, limits, graphs=graphs)
        taken_bytes = {"weights": stored_bytes} | beside
    left_bytes = kv_room_bytes(free_bytes, taken_bytes)
    if left_bytes < 1:
        raise ConfigError(
            "kv_memory",
            "auto",
            f"room beside {said(taken_bytes)}, but {device} has {free_bytes / 1e9:.1f} GB free; "
            "lower --max-num-batched-tokens or --max-model-len, or the weights' bits with --quant",
        )
    return left_bytes


def _cuda_graphs(engine: EngineConfig, config: DecoderConfig) -> str:
    """`on` or `off`. engine: its device, dtype, kernels and implementation are decided.

    Raises ConfigError where graphs are asked for and what computes the engine cannot be captured.
    """
    if engine.cuda_graphs == "off":
        return "off"
    why_not = _why_not_captured(engine, config)
    if why_not and engine.cuda_graphs == "on":
        raise ConfigError("cuda_graphs", "on", f"off: {why_not}")
    return "off" if why_not else "on"


def _why_not_captured(engine: EngineConfig, config: DecoderConfig) -> str:
    """A captured kernel must read lengths on the device when it runs, as attention in Triton does;
    what reads them on the host would replay those of the capture."""
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    if device.type != "cuda":
        return f"{device.type} has no graphs"
    if engine.model_impl != NATIVE:
        return "transformers computes the model"
    for op, name in engine.forced.items():
        if op.endswith("cache_write") and name == "reference":
            return f"{op} of 'reference' reads slots on the host"
    _, reading = cache_ops(engine.kv, engine.kv_dtype)
    attention = select(reading, device, dtype, engine.forced)
    first = attention.candidates[0]
    if first.name == "triton":
        if config.head_dim <= LARGEST_HEAD_DIM:
            return ""
        return f"heads of {config.head_dim} are too wide for {attention.op} of 'triton'"
    if getattr(first.function, "reads_lengths_on_device", False):
        return ""
    return f"{attention.op} of {first.name!r} reads lengths on the host"
