"""Decode steps as graphs: captured once for each number of sequences, replayed with one launch.

A decode step of a model is some hundred kernels of a few microseconds each; launching them one by
one costs the host more than that. A graph fixes every kernel, its launch shape and its pointers, so
a step's numbers are written into the tensors that it was captured with: ids, positions, slots,
block tables and lengths. Launch shapes come from the captured batch's tuples, which are the most
that any step may have; what is computed comes from the lengths on the device
(`kernels/device_lengths.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from ...kernels.device_lengths import DeviceLengths
from ...kernels.errors import KernelError
from ..models.decoder import Decoder
from ..models.kv_tensors import KVTensors
from .inputs import Spare, StepInputs, bucket_of, decode_buckets, no_inputs, pad_decodes
from .staging import PackedFields, Staging, decode_form, fill

# A megabyte comes from the host in 40 us at 25 GB/s; two more launches take 10.
_LARGE_TABLES_WORDS = 2**18


class GraphPool(Protocol):
    """Captures work on a device, to be done again."""

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """run: launches work on tensors that live on, and waits for nothing. It is called now,
        more than once. Returns what launches the same work anew, as one."""
        ...


class CudaGraphPool:
    """CUDA graphs that share one memory pool: they run one after another, never beside each other.

    Capture the largest first: the smaller ones find its memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        serving = torch.cuda.current_stream(self._device)
        # Twice before: kernels are compiled and tuned, libraries take their workspaces, and none of
        # that may happen while a stream is captured.
        self._stream.wait_stream(serving)
        with torch.cuda.stream(self._stream):
            run()
            run()
        serving.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._memory, stream=self._stream):
                run()
        except RuntimeError as error:  # a kernel of the user's that waits for the host, say
            cause = _first_cause(error)
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
            first = next(iter(str(cause).splitlines()), "")
            raise KernelError(
                f"a decode step cannot be captured as a CUDA graph ({first}); --no-cuda-graphs "
                "runs it without"
            ) from error
        return graph.replay


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong first: ending a capture that has failed fails once more."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@dataclass(frozen=True)
class DecodeShape:
    """The decode steps that an engine may come to.

    max_num_seqs: most sequences. max_model_len: longest sequence, in tokens. spare: where rows that
    only fill up write. block_size: of a paged cache; None: it is contiguous.
    """

    max_num_seqs: int
    max_model_len: int
    spare: Spare
    block_size: int | None = None

    @property
    def buckets(self) -> tuple[int, ...]:
        return decode_buckets(self.max_num_seqs)

    @property
    def table_blocks(self) -> int | None:
        """Blocks of the longest sequence."""
        return None if self.block_size is None else -(-self.max_model_len // self.block_size)


@dataclass(frozen=True)
class _Captured:
    form: PackedFields
    views: dict[str, Tensor]
    logits: Tensor
    replay: Callable[[], None]


class DecodeGraphs:
    """One graph a bucket, all over the same static tensors."""

    def __init__(
        self, model: Decoder, cache: KVTensors, shape: DecodeShape, pool: GraphPool
    ) -> None:
        """Captures every bucket: seconds on a GPU."""
        self._shape = shape
        largest = shape.buckets[-1]
        words = decode_form(largest, shape.table_blocks).words
        self._packed = torch.zeros(words, dtype=torch.int32, device=model.device)
        self._landing = torch.zeros_like(self._packed)
        # One for all graphs: each would else keep its own alive.
        self._logits = torch.zeros(
            largest, model.config.vocab_size, dtype=model.dtype, device=model.device
        )
        self._captured = {
            size: self._capture(model, cache, size, pool) for size in reversed(shape.buckets)
        }

    def fitting(self, inputs: StepInputs) -> int | None:
        """The bucket that computes this step; None if it is no step of decodes alone."""
        if not inputs.only_decodes:
            return None
        return bucket_of(len(inputs.token_ids), self._shape.buckets)

    def padded(self, inputs: StepInputs, bucket: int) -> tuple[PackedFields, StepInputs]:
        """A step that fits, and how the host lays it out for the bucket's graph."""
        padded = pad_decodes(inputs, bucket, self._shape.spare)
        return self._form_of(bucket, padded), padded

    def put(self, bucket: int, inputs: StepInputs, packed: Tensor, staging: Staging) -> None:
        """What `padded` gave, from a host buffer to where the bucket's graph reads it."""
        form, captured = self._form_of(bucket, inputs), self._captured[bucket]
        if form is captured.form:
            staging.to_device(packed, self._packed)
            return
        landed = staging.to_device(packed, self._landing)
        before = form.start_of("tables")  # which is last in both, so that the rest lies alike
        self._packed[:before].copy_(landed[:before])
        tables = form.views(landed)["tables"]
        captured.views["tables"][:, : tables.shape[1]].copy_(tables)

    def _form_of(self, bucket: int, inputs: StepInputs) -> PackedFields:
        """With block tables of the step's longest sequence where the graph's own are so large that
        the way from the host takes longer than to spread them on the device."""
        form = self._captured[bucket].form
        tables = form.fields.get("tables")
        if tables is None or tables.words <= _LARGE_TABLES_WORDS:
            return form
        return decode_form(bucket, max(map(len, inputs.tables)))

    def views(self, bucket: int) -> dict[str, Tensor]:
        """The inputs that the bucket's graph reads."""
        return self._captured[bucket].views

    def replay(self, bucket: int) -> Tensor:
        """Logits [bucket, vocab] of what `views` holds; the next replay overwrites them."""
        captured = self._captured[bucket]
        captured.replay()
        return captured.logits

    def _capture(self, model: Decoder, cache: KVTensors, size: int, pool: GraphPool) -> _Captured:
        form = decode_form(size, self._shape.table_blocks)
        self._write_idle_step(form, size)
        views = form.views(self._packed)
        logits = self._logits[:size]
        batch = self._widest_batch(views, size)

        def run() -> None:
            logits.copy_(
                model.forward(views["token_ids"], views["positions"], cache, batch, views["slots"])
            )

        return _Captured(form, views, logits, pool.capture(run))

    def _write_idle_step(self, form: PackedFields, size: int) -> None:
        """What a capture computes must be a step: here, of rows that only fill up."""
        host = torch.zeros(form.words, dtype=torch.int32)
        fill(form, host.numpy(), pad_decodes(no_inputs(), size, self._shape.spare))
        self._packed[: form.words].copy_(host)

    def _widest_batch(self, views: dict[str, Tensor], size: int) -> AttentionBatch:
        ones, longest = (1,) * size, (self._shape.max_model_len,) * size
        starts, kv_lengths = views["query_starts"], views["kv_lengths"]
        if self._shape.block_size is not None:
            lengths = DeviceLengths(starts, kv_lengths)
            return PagedBatch(ones, longest, views["tables"], lengths)
        lengths = DeviceLengths(starts, kv_lengths, views["starts"])
        return ContiguousBatch(ones, longest, (0,) * size, lengths)
