"""From a resolved configuration to an engine that runs: weights, KV room, policies, step loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..kernels.registry import KernelError, implementations, select
from .clock import Clock
from .core import EngineCore
from .device import free_memory_bytes
from .errors import ConfigError
from .executors.graphs import CudaGraphPool, DecodeGraphs, DecodeShape
from .executors.inputs import Spare
from .executors.memory import explained
from .executors.moves import allocate_host
from .executors.torch import TorchExecutor
from .executors.warm import WarmCache, warm_draws, warm_steps
from .kv.base import KVCache
from .kv.paged import PagedKVCache
from .models.catalogue import ModelFiles
from .models.decoder import Decoder, DecoderConfig
from .models.describe import NATIVE
from .models.fused import OP as STEP
from .models.fused import select_step
from .models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from .models.llama import Llama
from .models.loader import load_config
from .models.ops import cache_ops, select_attention_ops, select_ops
from .pipeline import Core, PipelinedCore
from .quantization.checkpoints.read import read_published
from .quantization.dummy import dummy_source
from .quantization.load import LoadedWeights, load_weights
from .quantization.methods import linear_ops
from .resolved import ResolvedEngine
from .stopping import Decode
from .strategy import Strategy, build_strategy

Report = Callable[[str], None]


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights on a device, ready for any number of engines.

    kernels: which implementation runs each operation. fused: of these, which runs whole steps; it
    belongs to the weights, the others to the engine that the model was loaded for.
    """

    files: ModelFiles
    config: DecoderConfig
    model: Decoder
    kernels: dict[str, str]
    fused: dict[str, str] = field(default_factory=dict)


def load_model(
    files: ModelFiles, engine: ResolvedEngine, report: Report = lambda _: None
) -> LoadedModel:
    """Weights in the form `engine.quant` asks for.

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
    return LoadedModel(files, weights.config, model, kernels_of(engine, files) | fused, fused)


def _weights(files: ModelFiles, engine: ResolvedEngine, report: Report) -> LoadedWeights:
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    if engine.load_format == "dummy":
        config = load_config(files.directory)
        report(f"drawing {config.parameter_count / 1e6:.0f} M weights at random")
        source = dummy_source(
            config,
            engine.quant,
            group_size=engine.group_size,
            head=engine.quant_head,
            activations=engine.quant_activations,
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
        activations=engine.quant_activations,
        dtype=dtype,
        device=device,
        report=report,
        force=engine.forced,
    )


def _load_through_transformers(files: ModelFiles, engine: ResolvedEngine) -> LoadedModel:
    from .models.hf import load_decoder
    from .models.hf_config import describe

    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    config = describe(files.directory)
    ops = select_attention_ops(device, dtype, engine.forced)
    with explained("for the weights", device, "the weights' bits, with --dtype"):
        model = load_decoder(files.directory, config, ops, dtype=dtype, device=device)
    return LoadedModel(files, config, model, kernels_of(engine, files))


def build_engine(
    loaded: LoadedModel, engine: ResolvedEngine, clock: Clock, decode: Decode | None = None
) -> Core:
    """An engine with an empty KV cache; on a GPU with every kernel compiled.

    decode: token ids to text; without it, requests with stop strings are refused.
    """
    bytes_per_token = loaded.config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
    strategy = build_strategy(engine, bytes_per_token)
    kv = strategy.kv
    _check_room(engine)
    cache = _allocate(kv, loaded.config, engine)
    executor = TorchExecutor(
        loaded.model,
        cache,
        _host_room(kv, cache, engine),
        in_thread=engine.async_scheduling and loaded.model.device.type == "cpu",
        graphs=_graphs(loaded, engine, strategy, cache),
        force=engine.forced,
    )
    if loaded.model.device.type == "cuda":
        block_size = kv.block_size if isinstance(kv, PagedKVCache) else None
        warm = warm_steps(strategy.limits, WarmCache(kv.capacity_tokens, block_size))
        executor.warm_up(warm, warm_draws())
    core = PipelinedCore if engine.async_scheduling else EngineCore
    return core(strategy, executor, clock, loaded.config.eos_token_ids, decode)


def _graphs(
    loaded: LoadedModel, engine: ResolvedEngine, strategy: Strategy, cache: KVTensors
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


def kernels_of(engine: ResolvedEngine, files: ModelFiles) -> dict[str, str]:
    """Which of our implementations runs each operation of a model under an engine."""
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    plain = engine.kv_dtype == "auto"
    native = engine.model_impl == NATIVE
    write, attention = cache_ops(engine.kv, engine.kv_dtype)
    ops = ["rope_cache_write" if plain and native else write, attention]
    if native:
        ops = [*_linear_ops(engine, files), "rms_norm", "add_rms_norm", "silu_mul", *ops]
        if not plain:
            ops.append("rope")
    return {op: select(op, device, dtype, engine.forced).name for op in [*ops, "argmax", "sample"]}


def emulated_by(
    kernels: Mapping[str, str], calls: Mapping[str, Mapping[str, int]]
) -> dict[str, str]:
    """The operations that were computed in another arithmetic than their method's own, and what
    was done instead. kernels: which implementation is asked first; calls: those that ran: where
    the first does not take a call, the registry asks the next."""
    emulated: dict[str, str] = {}
    for op, first in kernels.items():
        ran = {first, *calls.get(op, {})}
        for one in implementations(op):
            if one.name in ran and one.emulates is not None:
                emulated[op] = one.emulates
    return emulated


def _linear_ops(engine: ResolvedEngine, files: ModelFiles) -> tuple[str, ...]:
    """Of a quantised checkpoint, those of the maps that it says are quantised."""
    published = None if engine.load_format == "dummy" else read_published(files.directory)
    if published is None:
        return linear_ops(engine.quant, engine.quant_head, engine.quant_activations)
    return published.linear_ops(engine.quant_head, engine.quant_activations)


def _allocate(kv: KVCache, config: DecoderConfig, engine: ResolvedEngine) -> KVTensors:
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
        raise _no_room(engine, f"what {device} has free; lower --kv-memory") from error


def _host_room(kv: KVCache, cache: KVTensors, engine: ResolvedEngine) -> list[Tensor]:
    """For what is swapped out; not taken from the system where it may never be."""
    if not isinstance(kv, PagedKVCache) or not kv.host.num_blocks:
        return []
    return allocate_host(cache.tensors, kv.host.num_blocks, populated=_always_swaps(engine))


def _always_swaps(engine: ResolvedEngine) -> bool:
    return engine.preemption == "swap"


def _check_room(engine: ResolvedEngine) -> None:
    """Of a CPU's memory all is taken at once, and who takes more than there is may be ended without
    a word. Raises ConfigError."""
    if engine.device != "cpu":
        return
    swap_bytes = (engine.swap_memory_bytes or 0) if _always_swaps(engine) else 0
    left_bytes = free_memory_bytes() - swap_bytes
    if engine.kv_memory_bytes > left_bytes:
        beside = f" beside {swap_bytes} of --swap-memory" if swap_bytes else ""
        raise _no_room(engine, f"at most the {max(0, left_bytes)} that are free{beside}")


def _no_room(engine: ResolvedEngine, allowed: str) -> ConfigError:
    return ConfigError("kv_memory", f"{engine.kv_memory_bytes} bytes", allowed)
