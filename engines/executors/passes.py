"""One pass of the model over a step's inputs: laid out on the host, then computed where it runs.

Three ways, chosen once an engine: inputs as tensors of their own where the model runs on the CPU,
one packed copy to a device, and the same into what a captured graph reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from ...kernels.device_lengths import DeviceLengths
from ..models.decoder import AttentionTimer, Decoder, Likeliest
from ..models.kv_tensors import KVTensors
from .graphs import DecodeGraphs
from .inputs import StepInputs
from .staging import Staging, form_of, host_tensors

# Of a step: int64 on the device, or a list of the host.
Samples = Tensor | Sequence[int]


class Pass(Protocol):
    """A step's inputs, ready for the model. replayed: a captured graph computes it."""

    replayed: ClassVar[bool]

    def logits(
        self,
        sampled: Samples,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,
    ) -> Tensor:
        """Of the rows that are wanted, in order. sampled: by the step before, whose tokens some of
        the inputs may be. likeliest: as `Decoder.forward`. Nothing here waits for a device."""
        ...


class Passes(Protocol):
    def lay_out(self, inputs: StepInputs) -> Pass: ...


class OnHost:
    """The model runs where the inputs are."""

    def __init__(self, model: Decoder, cache: KVTensors) -> None:
        self._model = model
        self._cache = cache

    def lay_out(self, inputs: StepInputs) -> Pass:
        tensors = host_tensors(inputs)
        return EagerPass(self._model, self._cache, inputs, lambda: tensors)


class OnDevice:
    """Inputs are copied to the model in one piece."""

    def __init__(self, model: Decoder, cache: KVTensors, staging: Staging) -> None:
        self._model = model
        self._cache = cache
        self._staging = staging

    def lay_out(self, inputs: StepInputs) -> Pass:
        form, staging = form_of(inputs), self._staging
        packed = staging.write(form, inputs)
        return EagerPass(
            self._model, self._cache, inputs, lambda: form.views(staging.to_device(packed))
        )


class Replaying:
    """Steps that only decode are graphs; others are computed operation by operation."""

    def __init__(self, graphs: DecodeGraphs, staging: Staging, others: Passes) -> None:
        self._graphs = graphs
        self._staging = staging
        self._others = others

    def lay_out(self, inputs: StepInputs) -> Pass:
        bucket = self._graphs.fitting(inputs)
        if bucket is None:
            return self._others.lay_out(inputs)
        form, padded = self._graphs.padded(inputs, bucket)
        packed = self._staging.write(form, padded)
        return GraphPass(self._graphs, self._staging, bucket, padded, packed)


@dataclass(frozen=True)
class EagerPass:
    """bring: the inputs to where the model reads them, as `staging.form_of` names them."""

    model: Decoder
    cache: KVTensors
    inputs: StepInputs
    bring: Callable[[], Mapping[str, Tensor]]
    replayed: ClassVar[bool] = False

    def logits(
        self,
        sampled: Samples,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,
    ) -> Tensor:
        views = self.bring()
        _put_awaited(views, self.inputs, sampled)
        return self.model.forward(
            views["token_ids"],
            views["positions"],
            self.cache,
            _batch(self.inputs, views),
            views["slots"],
            views["logit_rows"],
            timer,
            likeliest,
        )


@dataclass(frozen=True)
class GraphPass:
    """inputs: padded to the bucket; packed: the same in a host buffer."""

    graphs: DecodeGraphs
    staging: Staging
    bucket: int
    inputs: StepInputs
    packed: Tensor
    replayed: ClassVar[bool] = True

    def logits(
        self,
        sampled: Samples,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,
    ) -> Tensor:
        del timer, likeliest  # a graph is launched as one, whatever is wanted of its logits
        self.graphs.put(self.bucket, self.inputs, self.packed, self.staging)
        _put_awaited(self.graphs.views(self.bucket), self.inputs, sampled)
        return self.graphs.replay(self.bucket)[: len(self.inputs.logit_rows)]


def _put_awaited(views: Mapping[str, Tensor], inputs: StepInputs, sampled: Samples) -> None:
    """Ids that the step before sampled, from where they are to where they are read."""
    count = len(inputs.awaited)
    if count:
        tokens = torch.as_tensor(sampled, dtype=torch.int64)
        ids = tokens.index_select(0, views["awaited_rows"][:count])
        views["token_ids"].index_copy_(0, views["awaited"][:count], ids)


def _batch(inputs: StepInputs, views: Mapping[str, Tensor]) -> AttentionBatch:
    query_lengths, kv_lengths = tuple(inputs.query_lengths), tuple(inputs.kv_lengths)
    on_device = None
    if "query_starts" in views:
        lengths = (views["query_starts"], views["kv_lengths"])
        on_device = DeviceLengths(*lengths, views.get("starts"))
    if inputs.tables:
        return PagedBatch(query_lengths, kv_lengths, views["tables"], on_device)
    return ContiguousBatch(query_lengths, kv_lengths, tuple(inputs.starts), on_device)
