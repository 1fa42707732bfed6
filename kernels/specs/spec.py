"""What is known of an operation beside its reference: cases, inputs, closeness, bytes and FLOPs.

One `OpSpec` an operation, in a module beside this one; `table.py` says which. The tests, `llmbench
kernels check`, `kernels bench` and `--verify-kernels` read nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ..errors import KernelError
from .closeness import Difference, compare_near

C = TypeVar("C")
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Call:
    """One call of an operation, with inputs of its own.

    arguments: of the call. weights: of the constructor, of an operation that is a class.
    kept: inputs by name, which the call must leave as they are, bit by bit.
    written: tensors that the call writes into, NaN wherever nothing was written before.
    returns: the name of the written tensor that the call must return; None: a new one.
    asks: arguments of `takes` of what the constructor made, where the operation has that; a call
    that it does not take is not made.
    """

    arguments: tuple[Any, ...]
    weights: tuple[Any, ...] | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    written: Mapping[str, Tensor] = field(default_factory=dict)
    returns: str | None = None
    asks: tuple[Any, ...] | None = None

    def prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What `arguments` are given to. Raises KernelError where it does not take them."""
        made: Any = function if self.weights is None else function(*self.weights)
        if self.asks is not None and not made.takes(*self.asks):
            raise KernelError("its `takes` says no")
        return made


@dataclass(frozen=True)
class Work:
    """The least that a call must do. bytes_moved: inputs read once and results written once.
    flops: of products of matrices, two a multiplication and addition; what is done element by
    element is less than the bytes take."""

    bytes_moved: int
    flops: int


@dataclass(frozen=True)
class ModelShape:
    """The sizes that decide the shapes of a model's operations; sizes are in elements."""

    name: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    group_size: int = 128
    window: int | None = None
    qk_norm: bool = False


SMOLLM2_135M = ModelShape("smollm2", 576, 9, 3, 64, 1536, 49152, group_size=64)
LLAMA_3_8B = ModelShape("llama-3-8b", 4096, 32, 8, 128, 14336, 128256)
MODEL_SHAPES = {shape.name: shape for shape in (SMOLLM2_135M, LLAMA_3_8B)}


@dataclass(frozen=True)
class StepShape:
    """What a step computes: `prompt` new tokens of one sequence, or one of each of `batch`
    sequences with `context` tokens in the cache."""

    batch: int = 1
    context: int = 1
    prompt: int = 0
    block_size: int = 16

    @property
    def tokens(self) -> int:
        return self.prompt or self.batch

    @property
    def label(self) -> str:
        if self.prompt:
            return f"prefill {self.prompt}"
        return f"decode {self.batch} x {self.context}"


@dataclass(frozen=True)
class OpSpec(Generic[C]):
    """How to try an operation.

    cases: by name, `group: what is odd about it`. tiny: those that Triton's interpreter runs.
    make: inputs for a case, the same for the same `Draw`.
    compare: a result's name, ours and the reference's; `specs/closeness.py` says how near is near.
    work: of a case, with activations of a dtype.
    of_model: the cases of a model's step, by name; what they are timed at.
    reads_memory: most of what a call reads are weights or the KV cache, which a step finds in
    memory; else activations, which it finds in cache. multiplies: the dtype of its products, where
    that is not the activations'.
    """

    op: str
    cases: Mapping[str, C]
    tiny: tuple[str, ...]
    make: Callable[[C, Draw], Call]
    work: Callable[[C, torch.dtype], Work]
    of_model: Callable[[ModelShape, StepShape], Mapping[str, C]]
    compare: Callable[[Call, str, Tensor, Tensor], Difference] = compare_near
    dtypes: tuple[torch.dtype, ...] = FLOATS
    reads_memory: bool = False
    multiplies: torch.dtype | None = None


class Draw:
    """Random inputs on a device; the same seed draws the same, in the order that it is asked.

    backend: the name of who will compute: what another operation makes for it is then made by that
    one's implementation of the name, where it has one.
    """

    def __init__(
        self, device: torch.device, dtype: torch.dtype, seed: int, backend: str = ""
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.backend = backend
        self._generator = torch.Generator(device).manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Of mean 0 and deviation 1, drawn in float32 and rounded."""
        drawn = torch.randn(shape, generator=self._generator, device=self.device)
        return drawn.to(dtype or self.dtype)

    def uniform(self, *shape: int) -> Tensor:
        """From 0 to 1, in float32."""
        return torch.rand(shape, generator=self._generator, device=self.device)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """int64 from low to high - 1."""
        return torch.randint(low, high, shape, generator=self._generator, device=self.device)

    def permutation(self, size: int) -> Tensor:
        """int64, each of 0 to size - 1 once."""
        return torch.randperm(size, generator=self._generator, device=self.device)

    def poison(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """NaN: what is read and should not be shows in the result."""
        return torch.full(shape, math.nan, dtype=dtype or self.dtype, device=self.device)

    def beside_poison(self, tensor: Tensor) -> Tensor:
        """The same, contiguous, between NaN on both sides."""
        size, margin = tensor.numel(), 64
        room = self.poison(size + 2 * margin, dtype=tensor.dtype)
        return room[margin : margin + size].view(tensor.shape).copy_(tensor)

    def angles(self, tokens: int, head_dim: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines as a rotary table has them, [tokens, head_dim / 2]."""
        angles = 100 * self.uniform(tokens, head_dim // 2)
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)


def nbytes(dtype: torch.dtype, *sizes: int) -> int:
    """Bytes of tensors with so many elements each."""
    return dtype.itemsize * sum(sizes)
