"""The time of a step on hardware: for each kind of work the larger of bytes and operations.

Source: Williams, Waterman and Patterson, Roofline, CACM 2009. The tokens of a step, prefill and
decode, go through the linear maps together, so a mixed step reads the weights once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from ..errors import ConfigError
from ..models.config import KV_SCALE_BYTES, ModelConfig
from ..room import KV_MEMORY_SHARE, kv_room_bytes, said
from ..trace import PhaseTimes
from .hardware import Hardware, Link
from .weights import UNQUANTISED, WeightChoice, WeightFormat
from .work import ModelWork, StepWork, model_work


class CostModel(Protocol):
    """Predicts how long a step takes. Pure: the same work, the same times."""

    def price(self, work: StepWork) -> PhaseTimes:
        """The parts of a step's predicted time; schedule_s and host_s are 0 unless measured."""
        ...


@dataclass(frozen=True)
class Efficiency:
    """The share of hardware's peak that kernels reach, one factor a phase.

    prefill: of the peak rate of operations, which binds where many tokens share a pass. decode: of
    the memory bandwidth, which binds where few do. A pass is charged the larger of the two times,
    so a large decode batch whose products are bound by arithmetic is charged as prefill is.

    The defaults are those fitted to half of TensorRT-LLM's published Llama-3.1-8B FP8 throughput on
    an H100: see `published.py` and docs/roofline.md. They describe one
    engine, model and device; elsewhere they are a first guess, and calibration replaces them.
    """

    prefill: float = 0.52
    decode: float = 0.83

    def __post_init__(self) -> None:
        for field in ("prefill", "decode"):
            value = getattr(self, field)
            if not 0 < value <= 1:
                raise ConfigError(f"efficiency.{field}", value, "a share of the peak in (0, 1]")


# Between devices and to the host: NCCL takes 0.92 of a link's rate (120 data bytes in 128 under
# its LL128 protocol, src/graph/tuning.cc).
LINK_EFFICIENCY = 0.92
# What a collective costs beyond its hops: the base latency of a ring in the same table (LL128).
COLLECTIVE_LATENCY_S = 10e-6


class Roofline:
    """Prices steps of a model on hardware.

    devices_per_node: beyond it a ring crosses nodes and its slowest link is the network.
    Raises ConfigError for what the hardware cannot do (a dtype, a link it lacks).
    """

    def __init__(
        self,
        hardware: Hardware,
        model: ModelConfig,
        weights: WeightChoice = UNQUANTISED,
        *,
        tensor_parallel: int = 1,
        kv_dtype: str = "auto",
        kv_scale_bytes: int = KV_SCALE_BYTES,
        efficiency: Efficiency = Efficiency(),
        devices_per_node: int = 8,
    ) -> None:
        work = model_work(
            model,
            weights,
            tensor_parallel=tensor_parallel,
            kv_dtype=kv_dtype,
            kv_scale_bytes=kv_scale_bytes,
        )
        self.hardware = hardware
        self.work = work
        self._overhead_s = hardware.step_overhead_s
        head = weights.head_format(work.dtype)

        def flops_of(format: WeightFormat) -> float:
            product = format.computes_in(hardware, work.dtype)
            return hardware.peak_flops(product) * efficiency.prefill

        flops = hardware.peak_flops(work.dtype) * efficiency.prefill
        bandwidth = hardware.memory_bytes_per_s * efficiency.decode
        # Of a checkpoint whose maps differ, each in the arithmetic of its own.
        layers: Counter[WeightFormat] = Counter()
        for one in weights.layer_maps(model.shard(tensor_parallel), work.dtype):
            layers[one.format] += one.layers * one.out_features * one.in_features
        self._linear_flop_s = sum(
            2.0 * multiplied / flops_of(format) for format, multiplied in layers.items()
        )
        self._linear_read_s = work.linear_bytes / bandwidth
        self._activation_s = work.activation_bytes_per_token / bandwidth
        self._head_flop_s = work.head_flops_per_row / flops_of(head)
        self._head_read_s = work.head_bytes / bandwidth
        self._pair_s = work.attention_flops_per_pair / flops
        self._kv_s = work.kv_bytes_per_token / bandwidth
        self._logits_s = work.logits_bytes_per_row / bandwidth
        self._set_links(devices_per_node)

    def _set_links(self, devices_per_node: int) -> None:
        """Ring all-reduce of n bytes over p devices: each sends 2 (p - 1) / p x n bytes in
        2 (p - 1) hops; an all-gather is half of it (Thakur, Rabenseifner and Gropp, 2005)."""
        devices, work = self.work.tensor_parallel, self.work
        self._hops_s = self._message_s = self._gather_s = 0.0
        if devices > 1:
            name = "link" if devices <= devices_per_node else "internode_link"
            link = self.hardware.required_link(name)
            rate = link.bytes_per_s * LINK_EFFICIENCY
            share = (devices - 1) / devices
            hops = (work.all_reduces * 2 + 1) * (devices - 1)
            self._hops_s = hops * link.latency_s + (work.all_reduces + 1) * COLLECTIVE_LATENCY_S
            self._message_s = work.all_reduces * 2 * share * work.all_reduce_bytes_per_token / rate
            # The logits of all devices, float32; logits_bytes_per_row counts a device's own twice.
            self._gather_s = share * devices * work.logits_bytes_per_row / 2 / rate

    def price(self, work: StepWork) -> PhaseTimes:
        """Predicted times of one step; an empty one takes none."""
        tokens = work.prefill_tokens + work.decode_tokens
        if not tokens:
            return PhaseTimes(swap_s=self._swap_s(work.swap_tokens))
        rows = work.sampled_rows
        linear_s = max(
            tokens * self._linear_flop_s, self._linear_read_s + tokens * self._activation_s
        )
        if rows:
            linear_s += max(rows * self._head_flop_s, self._head_read_s)
        # Each phase has its kernel, and each key is read once for a sequence; new ones are written.
        attention_s = max(
            work.prefill_pairs * self._pair_s,
            (work.prefill_context_tokens + work.prefill_tokens) * self._kv_s,
        ) + max(
            work.decode_context_tokens * self._pair_s,
            (work.decode_context_tokens + work.decode_tokens) * self._kv_s,
        )
        return PhaseTimes(
            prepare_s=self._overhead_s,
            attention_s=attention_s,
            linear_s=linear_s,
            sample_s=rows * self._logits_s,
            communicate_s=self._hops_s + tokens * self._message_s + rows * self._gather_s,
            swap_s=self._swap_s(work.swap_tokens),
        )

    def _swap_s(self, tokens: float) -> float:
        """KV tokens over the host link, every device its own share at the same time."""
        if not tokens:
            return 0.0
        link: Link = self.hardware.required_link("host_link")
        return link.latency_s + tokens * self.work.kv_bytes_per_token / (
            link.bytes_per_s * LINK_EFFICIENCY
        )


# Devices that a model is split over, in the order in which they are proposed.
_SPLITS = (2, 4, 8, 16, 32, 64)


def kv_capacity_tokens(
    hardware: Hardware,
    model: ModelConfig,
    weights: WeightChoice = UNQUANTISED,
    *,
    tensor_parallel: int = 1,
    kv_dtype: str = "auto",
    kv_scale_bytes: int = KV_SCALE_BYTES,
    beside_weights: Mapping[str, float] = MappingProxyType({}),
    free_memory_fraction: float = KV_MEMORY_SHARE,
) -> int:
    """KV tokens that fit: `free_memory_fraction` of what is left free on each device.

    beside_weights: bytes of each that neither weights nor keys and values get, by what takes them:
    of our own engines `taken_beside_weights`; of another, which computes otherwise, nothing is
    known. Raises ConfigError where nothing is left.
    """
    if not 0 < free_memory_fraction <= 1:
        raise ConfigError("free_memory_fraction", free_memory_fraction, "a share in (0, 1]")
    work: ModelWork = model_work(
        model,
        weights,
        tensor_parallel=tensor_parallel,
        kv_dtype=kv_dtype,
        kv_scale_bytes=kv_scale_bytes,
    )
    taken = {"weights": work.stored_bytes, **beside_weights}
    room = kv_room_bytes(hardware.memory_bytes, taken, free_memory_fraction)
    tokens = int(room // work.kv_bytes_per_token)
    if tokens < 1:
        alone = kv_room_bytes(hardware.memory_bytes, {"weights": work.stored_bytes})
        shorter = "; or lower --max-num-batched-tokens or --max-model-len" if alone > 0 else ""
        raise ConfigError(
            "tensor_parallel",
            tensor_parallel,
            f"{_enough(hardware, model, weights, taken)}: of each {hardware.name}'s "
            f"{hardware.memory_bytes / 1e9:.1f} GB, {said(taken)} leave nothing{shorter}",
        )
    return tokens


def _enough(
    hardware: Hardware, model: ModelConfig, weights: WeightChoice, taken: Mapping[str, float]
) -> str:
    """Over how many devices the model fits, by their weights: what else is taken of each is no
    more there. taken: of one of fewer, by what takes it."""
    for devices in _SPLITS:
        try:
            work = model_work(model, weights, tensor_parallel=devices)
        except ConfigError:
            continue  # a split that does not go up
        if kv_room_bytes(hardware.memory_bytes, {**taken, "weights": work.stored_bytes}) > 0:
            return f"{devices} or more devices, or fewer bits a weight (--quant)"
    return "enough devices, or fewer bits a weight (--quant)"
