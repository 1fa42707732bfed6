"""From a configuration to an engine that runs: weights, KV room, policies, step loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from ..kernels.choices import resolve_choices
from ..kernels.registry import KernelError, implementations, select
from ..kernels.triton.attention import LARGEST_HEAD_DIM
from .clock import Clock
from .config import CPU_KV_MEMORY_BYTES, EngineConfig
from .core import EngineCore, Strategy
from .cost.work import model_work
from .device import choose_dtype, find_device, memory_bytes_of
from .errors import ConfigError
from .executors.graphs import CudaGraphPool, DecodeGraphs, DecodeShape, graph_memory_bytes
from .executors.inputs import Spare
from .executors.memory import explained
from .executors.torch import TorchExecutor
from .kv.base import KVCache
from .kv.paged import PagedKVCache
from .models.catalogue import ModelFiles
from .models.config import DTYPE_BYTES
from .models.decoder import Decoder, DecoderConfig
from .models.describe import NATIVE, Described, describe_model
from .models.fused import OP as STEP
from .models.fused import select_step
from .models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from .models.llama import Llama
from .models.loader import load_config
from .models.ops import select_attention_ops, select_ops
from .pipeline import PipelinedCore
from .quantization.auto import settle_quant
from .quantization.checkpoints.read import Published, read_published
from .quantization.dummy import dummy_source
from .quantization.load import LoadedWeights, load_weights
from .quantization.methods import find_method, linear_ops
from .quantization.scheme import resolve_group_size
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
    described = describe_model(files.directory, engine.model_impl)
    config = described.config
    published = _published(files, engine, described)
    engine = settle_quant(engine, published)
    if published is None:
        _check_method(engine)
    device = find_device(engine.device)
    dtype = choose_dtype(engine.dtype, device)
    forced = _forced(engine, device, getattr(torch, dtype))
    if engine.load_format == "dummy" and described.native is None:
        allowed = f"auto: {config.family} runs through transformers, which reads its weights"
        raise ConfigError("load_format", "dummy", allowed)
    limits = engine.limits(config.max_position_embeddings)
    engine = replace(
        engine,
        model_impl=described.model_impl,
        device=str(device),
        dtype=dtype,
        force_kernels=forced,
        async_scheduling=engine.async_scheduling
        if engine.async_scheduling is not None
        else device.type == "cuda",
    )
    engine = replace(
        engine,
        cuda_graphs=_cuda_graphs(engine, config),
        group_size=engine.group_size if published else _group_size(described, engine),
    )
    kv_memory_bytes = engine.kv_memory_bytes or _default_kv_memory(device, described, engine)
    resolved = replace(
        engine,
        max_model_len=limits.max_model_len,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        kv_memory_bytes=kv_memory_bytes,
        swap_memory_bytes=swap_memory_bytes(engine, kv_memory_bytes),
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


def _published(files: ModelFiles, engine: EngineConfig, described: Described) -> Published | None:
    """The model's checkpoint, if it is quantised and its weights are read."""
    if engine.load_format == "dummy" or described.native is None:
        return None
    return read_published(files.directory)


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


def _check_kv_memory(engine: EngineConfig) -> None:
    assert engine.kv_memory_bytes is not None
    device_bytes = memory_bytes_of(torch.device(engine.device))
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
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)  # where Triton launches, whatever it is handed
    if engine.model_impl != NATIVE:
        return _load_through_transformers(files, engine)
    with explained("for the weights", device, "the weights' bits, with --quant"):
        weights = _weights(files, engine, report)
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
    if model.step is None and STEP in engine.forced:
        raise KernelError(f"{STEP}: {step!r}, which was asked for, does not compute this model")
    fused = {} if model.step is None else {STEP: str(step)}
    return LoadedModel(files, weights.config, model, kernels_of(engine, files) | fused)


def _weights(files: ModelFiles, engine: EngineConfig, report: Report) -> LoadedWeights:
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    if engine.load_format == "dummy":
        config = load_config(files.directory)
        report(f"drawing {config.parameter_count / 1e6:.0f} M weights at random")
        source = dummy_source(
            config,
            engine.quant,
            group_size=engine.group_size,
            head=engine.quant_head,
            dtype=dtype,
            device=device,
            force=engine.forced,
        )
        return LoadedWeights(config, source)
    return load_weights(
        files.directory,
        engine.quant,
        group_size=engine.group_size,
        head=engine.quant_head,
        dtype=dtype,
        device=device,
        report=report,
        force_kernels=engine.forced,
    )


def _load_through_transformers(files: ModelFiles, engine: EngineConfig) -> LoadedModel:
    from .models.hf import load_decoder
    from .models.hf_config import describe

    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    config = describe(files.directory)
    ops = select_attention_ops(device, dtype, engine.forced)
    with explained("for the weights", device, "the weights' bits, with --dtype"):
        model = load_decoder(files.directory, config, ops, dtype=dtype, device=device)
    return LoadedModel(files, config, model, kernels_of(engine, files))


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
    cache = _allocate(kv, loaded.config, engine)
    executor = TorchExecutor(
        loaded.model,
        cache,
        host_units,
        in_thread=bool(engine.async_scheduling) and loaded.model.device.type == "cpu",
        graphs=_graphs(loaded, engine, strategy, cache),
        force=engine.forced,
    )
    core = PipelinedCore if engine.async_scheduling else EngineCore
    return core(strategy, executor, clock, loaded.config.eos_token_ids, decode)


def _graphs(
    loaded: LoadedModel, engine: EngineConfig, strategy: Strategy, cache: KVTensors
) -> DecodeGraphs | None:
    """The engine's decode steps, captured."""
    if engine.cuda_graphs != "on":
        return None
    limits, device = strategy.limits, loaded.model.device
    shape = DecodeShape(limits.max_num_seqs, limits.max_model_len, *_spare(strategy.kv))
    with explained("to capture decode steps", device, "--max-num-seqs, or use --no-cuda-graphs"):
        return DecodeGraphs(loaded.model, cache, shape, CudaGraphPool(device))


def _spare(kv: KVCache) -> tuple[Spare, int | None]:
    """The room that `_allocate` adds behind the pool, and the block size of a paged cache."""
    if isinstance(kv, PagedKVCache):
        return Spare(kv.num_blocks * kv.block_size, kv.num_blocks), kv.block_size
    return Spare(kv.capacity_tokens), None


def kernels_of(engine: EngineConfig, files: ModelFiles) -> dict[str, str]:
    """Which of our implementations runs each operation of a model under an engine. engine: as
    `resolve` returned it."""
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    plain = engine.kv_dtype == "auto"
    native = engine.model_impl == NATIVE
    cache = "" if plain else "quantized_"
    write = ["rope_cache_write"] if plain and native else [f"{cache}cache_write"]
    ops = [*write, f"{cache}{engine.kv}_attention"]
    if native:
        ops = [*_linear_ops(engine, files), "rms_norm", "add_rms_norm", "silu_mul", *ops]
        if not plain:
            ops.append("rope")
    return {op: select(op, device, dtype, engine.forced).name for op in [*ops, "argmax", "sample"]}


def emulated_by(
    kernels: Mapping[str, str], calls: Mapping[str, Mapping[str, int]]
) -> dict[str, str]:
    """The operations that were computed in another arithmetic than their method's own, and what
    was done instead. kernels: which implementation is asked first; calls: those that ran, for one
    that does not take the weights hands them on."""
    emulated: dict[str, str] = {}
    for op, first in kernels.items():
        ran = {first, *calls.get(op, {})}
        for one in implementations(op):
            if one.name in ran and one.emulates is not None:
                emulated[op] = one.emulates
    return emulated


def _linear_ops(engine: EngineConfig, files: ModelFiles) -> tuple[str, ...]:
    """Of a quantised checkpoint, those of the maps that it says are quantised."""
    published = None if engine.load_format == "dummy" else read_published(files.directory)
    if published is None:
        return linear_ops(engine.quant, engine.quant_head)
    return published.linear_ops(engine.quant_head)


def _allocate(kv: KVCache, config: DecoderConfig, engine: EngineConfig) -> KVTensors:
    """The pool, and behind it one unit that no request gets: where graphs' spare rows write."""
    dtype, device = getattr(torch, engine.dtype), torch.device(engine.device)
    spare = int(engine.cuda_graphs == "on")
    try:
        if isinstance(kv, PagedKVCache):
            blocks, size = kv.num_blocks + spare, kv.block_size
            return allocate_paged(config, blocks, size, dtype, device, engine.kv_dtype)
        slots = kv.capacity_tokens + spare
        return allocate_contiguous(config, slots, dtype, device, engine.kv_dtype)
    except RuntimeError as error:  # torch's own out-of-memory errors derive from it
        asked = f"{engine.kv_memory_bytes} bytes"
        allowed = f"what {device} has free; lower --kv-memory"
        raise ConfigError("kv_memory", asked, allowed) from error


def _default_kv_memory(device: torch.device, described: Described, engine: EngineConfig) -> int:
    """On a GPU, a share of what weights and graphs will leave free; neither is there yet."""
    if device.type != "cuda":
        return CPU_KV_MEMORY_BYTES
    free_bytes, _ = torch.cuda.mem_get_info(device)
    taken_bytes = _weight_bytes(described, engine)
    if engine.cuda_graphs == "on" and described.native is not None:
        taken_bytes += graph_memory_bytes(described.native, engine.max_num_seqs, engine.dtype)
    return max(0, int((free_bytes - taken_bytes) * CUDA_KV_MEMORY_SHARE))


def _weight_bytes(described: Described, engine: EngineConfig) -> int:
    """That will lie on the device. engine: its dtype and quantisation are decided."""
    if described.native is None:
        return DTYPE_BYTES[engine.dtype] * described.config.parameter_count
    work = model_work(
        replace(described.native, dtype=engine.dtype),
        quant=engine.quant,
        group_size=engine.group_size,
        quant_bits=engine.quant_bits,
        quant_head=engine.quant_head,
    )
    return int(work.stored_bytes)


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
    cache = "" if engine.kv_dtype == "auto" else "quantized_"
    attention = select(f"{cache}{engine.kv}_attention", device, dtype, engine.forced)
    first = attention.candidates[0]
    if first.name == "triton":
        if config.head_dim <= LARGEST_HEAD_DIM:
            return ""
        return f"heads of {config.head_dim} are too wide for {attention.op} of 'triton'"
    if getattr(first.function, "reads_lengths_on_device", False):
        return ""
    return f"{attention.op} of {first.name!r} reads lengths on the host"
