"""Graphs of decode steps, with a pool that runs anew what it was given to capture: over the same
static tensors, so that a wrong pointer or a wrong row of padding shows in the tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import MagicMock

import pytest
import torch
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.core import EngineCore
from llmbench.engines.executors import graphs
from llmbench.engines.executors.graphs import (
    CudaGraphPool,
    DecodeGraphs,
    DecodeShape,
)
from llmbench.engines.executors.inputs import (
    Spare,
    StepInputs,
    bucket_of,
    decode_buckets,
    no_inputs,
    pad_decodes,
)
from llmbench.engines.executors.staging import Staging
from llmbench.engines.executors.torch import TorchExecutor
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.decoder import AttentionTimer, Decoder, Likeliest
from llmbench.engines.models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from llmbench.engines.pipeline import Core, PipelinedCore
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.strategy import build_kv, compose
from llmbench.kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from llmbench.kernels.errors import KernelError
from torch import Tensor

CPU, DTYPE = torch.device("cpu"), torch.float32
MAX_MODEL_LEN = 64


class RunAgain:
    """A `GraphPool` of a machine without graphs."""

    def __init__(self) -> None:
        self.captured = 0
        self.replays = 0

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        run()

        def replay() -> None:
            self.replays += 1
            run()

        return replay


class ReadsLengthsOnDevice:
    """A model whose attention computes what the device's lengths say, as Triton's does: kernels of
    a CPU read a batch's tuples, which are upper bounds in a graph."""

    def __init__(self, model: Decoder) -> None:
        self._model = model
        self.config, self.dtype, self.device = model.config, model.dtype, model.device
        self.weight_bytes, self.head_bytes = model.weight_bytes, model.head_bytes

    def forward(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: KVTensors,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor | None = None,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,
    ) -> Tensor:
        lengths = batch.on_device
        assert lengths is not None
        query = tuple(lengths.query_starts.diff().tolist())
        kv = tuple(lengths.kv_lengths.tolist())
        assert len(query) == len(batch.query_lengths)
        assert all(length <= most for length, most in zip(kv, batch.kv_lengths, strict=True))
        if isinstance(batch, PagedBatch):
            read: AttentionBatch = PagedBatch(query, kv, batch.block_tables)
        else:
            assert lengths.starts is not None
            read = ContiguousBatch(query, kv, tuple(lengths.starts.tolist()))
        return self._model.forward(
            token_ids, positions, cache, read, slot_mapping, logit_rows, timer, likeliest
        )


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(resolve_model("bundled"), settings("paged"))


def settings(preset: str, **changes) -> ResolvedEngine:
    engine = engine_config(
        preset,
        dtype="float32",
        device="cpu",
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=11,
        max_num_batched_tokens=64,
        kv_memory_bytes=2**22,
        **changes,
    )
    return resolve(engine, resolve_model("bundled"))


def graphed(loaded: LoadedModel, engine: ResolvedEngine, pool: RunAgain) -> Core:
    """As `build_engine` puts an engine with graphs together."""
    limits = engine.limits
    strategy = compose(engine, limits, build_kv(engine, limits, 12 * MAX_MODEL_LEN))
    kv, model = strategy.kv, ReadsLengthsOnDevice(loaded.model)
    if isinstance(kv, PagedKVCache):
        cache = allocate_paged(loaded.config, kv.num_blocks + 1, kv.block_size, DTYPE, CPU)
        spare = Spare(kv.num_blocks * kv.block_size, kv.num_blocks)
        shape = DecodeShape(limits.max_num_seqs, MAX_MODEL_LEN, spare, kv.block_size)
    else:
        cache = allocate_contiguous(loaded.config, kv.capacity_tokens + 1, DTYPE, CPU)
        shape = DecodeShape(limits.max_num_seqs, MAX_MODEL_LEN, Spare(kv.capacity_tokens))
    for tensor in cache.tensors:
        tensor.fill_(torch.nan)  # what nobody wrote must not be read
    graphs = DecodeGraphs(model, cache, shape, pool)
    threaded = bool(engine.async_scheduling)
    executor = TorchExecutor(model, cache, in_thread=threaded, graphs=graphs)
    core = PipelinedCore if threaded else EngineCore
    return core(strategy, executor, WallClock())


def serve(
    core: Core, seed: int, *, replays: bool = True
) -> dict[tuple[str, int], list[int | None]]:
    """Up to nine requests, one a step or several: batches of every size up to eleven. replays:
    whether steps that only decode say that they were."""
    draw = random.Random(seed)
    coming = []
    for index in range(9):
        prompt = tuple(draw.randrange(3, 400) for _ in range(draw.randint(1, 30)))
        sampling = SamplingParams(
            draw.randint(1, 20),
            ignore_eos=True,
            n=draw.choice((1, 1, 2)),
            temperature=draw.choice((0.0, 0.0, 0.8)),
        )
        coming.append(Request(str(index), prompt, sampling))
    tokens: dict[tuple[str, int], list[int | None]] = {}
    while coming or core.has_work():
        for _ in range(draw.choice((0, 1, 3))):
            if coming:
                core.add(coming.pop())
        outcome = core.step()
        trace = outcome.trace
        if trace is not None and trace.decode_tokens and not trace.prefill_tokens:
            assert trace.replayed is replays
        for event in outcome.events:
            assert not event.detail, event.detail
            tokens.setdefault((event.request_id, event.choice), []).append(event.token_id)
    return tokens


@pytest.mark.parametrize("in_thread", [False, True], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize("preset", ["paged", "inflight", "vllm-v1"])
def test_replayed_steps_say_what_launched_ones_do(
    loaded: LoadedModel, preset: str, in_thread: bool
) -> None:
    from llmbench.engines.assemble import build_engine

    seed = random.randrange(2**32)
    engine = settings(preset, async_scheduling=in_thread)
    pool = RunAgain()
    tokens = serve(graphed(loaded, engine, pool), seed)
    plain = build_engine(loaded, replace(engine, async_scheduling=False), WallClock())
    assert tokens == serve(plain, seed, replays=False)
    assert pool.captured == len(decode_buckets(11))
    assert pool.replays > 0


@pytest.mark.parametrize("in_thread", [False, True], ids=["synchronous", "asynchronous"])
def test_tables_that_are_spread_on_the_device_say_the_same(
    loaded: LoadedModel, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the front of each table is written anew, behind it lies what a longer step left."""
    from llmbench.engines.assemble import build_engine

    monkeypatch.setattr(graphs, "_LARGE_TABLES_WORDS", 0)
    seed, pool = random.randrange(2**32), RunAgain()
    engine = settings("vllm-v1", async_scheduling=in_thread, block_size=4)
    tokens = serve(graphed(loaded, engine, pool), seed)
    plain = build_engine(loaded, replace(engine, async_scheduling=False), WallClock())
    assert tokens == serve(plain, seed, replays=False)
    assert pool.replays > 0


@pytest.mark.parametrize(("least_words", "blocks"), [(0, 3), (2**18, MAX_MODEL_LEN // 4)])
def test_a_step_brings_no_more_of_large_tables_than_its_longest(
    loaded: LoadedModel, least_words: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "_LARGE_TABLES_WORDS", least_words)
    cache = allocate_paged(loaded.config, 65, 4, DTYPE, CPU)
    shape = DecodeShape(4, MAX_MODEL_LEN, Spare(slot=256, block=64), block_size=4)
    found = DecodeGraphs(ReadsLengthsOnDevice(loaded.model), cache, shape, RunAgain())
    two = StepInputs(
        [7, 8], [3, 9], [11, 25], [0, 1], [1, 1], [4, 10], [[2], [6, 0, 1]], [], [], []
    )
    form, padded = found.padded(two, 4)
    assert form.fields["tables"].shape == (4, blocks)
    staging = Staging(CPU)
    found.put(4, padded, staging.write(form, padded), staging)
    views = found.views(4)
    assert views["token_ids"].tolist() == [7, 8, 0, 0]
    assert views["kv_lengths"].tolist() == [4, 10, 1, 1]
    assert views["tables"].shape == (4, MAX_MODEL_LEN // 4)
    assert [row[:1].tolist() for row in views["tables"]] == [[2], [6], [64], [64]]
    assert views["tables"][1, :3].tolist() == [6, 0, 1]


def test_buckets_are_few_and_end_with_the_most_that_may_run() -> None:
    assert decode_buckets(1) == (1,)
    assert decode_buckets(3) == (1, 2, 3)
    assert decode_buckets(8) == (1, 2, 4, 8)
    assert decode_buckets(33) == (1, 2, 4, 8, 16, 24, 32, 33)
    for most in range(1, 300):
        buckets = decode_buckets(most)
        assert list(buckets) == sorted(set(buckets))
        assert buckets[-1] == most
        for batch in range(1, most + 1):
            found = bucket_of(batch, buckets)
            assert found is not None
            assert 0 <= found - batch < 8
        assert bucket_of(most + 1, buckets) is None


def test_padding_adds_sequences_of_one_token_in_the_spare_block() -> None:
    two = StepInputs(
        [7, 8], [3, 9], [11, 25], [0, 1], [1, 1], [4, 10], [[2], [6, 0, 1]], [], [1], [0]
    )
    padded = pad_decodes(two, 4, Spare(slot=256, block=64))
    assert padded == StepInputs(
        [7, 8, 0, 0],
        [3, 9, 0, 0],
        [11, 25, 256, 256],
        [0, 1],
        [1, 1, 1, 1],
        [4, 10, 1, 1],
        [[2], [6, 0, 1], [64], [64]],
        [],
        [1],
        [0],
    )
    # A contiguous cache has no blocks; nobody at all can be padded, too.
    idle = pad_decodes(no_inputs(), 2, Spare(slot=96))
    assert (idle.starts, idle.slots, idle.tables, idle.kv_lengths) == (
        [96] * 2,
        [96] * 2,
        [],
        [1, 1],
    )


def test_only_steps_that_want_a_token_of_everybody_are_replayed() -> None:
    decode = StepInputs([7, 8], [3, 9], [0, 1], [0, 1], [1, 1], [4, 10], [[2], [6]], [], [], [])
    assert decode.only_decodes
    assert not replace(decode, logit_rows=[1]).only_decodes
    prompt = replace(decode, token_ids=[7, 8, 9], logit_rows=[0, 2], query_lengths=[1, 2])
    assert not prompt.only_decodes


@pytest.mark.parametrize("first", [RuntimeError("it waits for the host\nmore"), None])
def test_a_capture_that_fails_says_what_went_wrong_first(first: RuntimeError | None) -> None:
    """Ending a failed capture raises once more, and hides it."""
    cause = first or torch.OutOfMemoryError("no room")

    class Capture:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            raise RuntimeError("a previous error during capture")

    calls: list[int] = []

    def run() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise cause

    with pytest.MonkeyPatch.context() as patch:
        for name in ("Stream", "current_stream", "graph_pool_handle", "CUDAGraph"):
            patch.setattr(torch.cuda, name, lambda *_: MagicMock())
        patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        patch.setattr(torch.cuda, "graph", lambda *_, **__: Capture())
        pool = CudaGraphPool(torch.device("cuda"))
        expected = (
            pytest.raises(torch.OutOfMemoryError, match="no room")
            if first is None
            else pytest.raises(KernelError, match=r"\(it waits for the host\); --no-cuda-graphs")
        )
        with expected:
            pool.capture(run)
