"""Triton's kernels compiled for GPUs that are not here, with the arguments of real launches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import torch

TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
_TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int32: "i32",
    torch.int64: "i64",
}
_OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True)
class Launch:
    """A kernel and what it was called with; it did not run, so its outputs are as they were."""

    kernel: Any
    arguments: dict[str, Any]

    def compile(self, target: str) -> str:
        """The assembly for one of TARGETS. Raises what Triton raises."""
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource, compile

        values = dict(self.arguments)
        options = {name: values.pop(name) for name in _OPTIONS if name in values}
        fixed = {p.name for p in self.kernel.params if p.is_constexpr}
        fixed |= {name for name, value in values.items() if value is None}
        signature = {n: "constexpr" if n in fixed else _type(v) for n, v in values.items()}
        constants = {name: values[name] for name in fixed}
        source = ASTSource(fn=self.kernel, signature=signature, constexprs=constants)
        built = compile(source, target=GPUTarget(*TARGETS[target]), options=options)
        return built.asm["ptx" if "ptx" in built.asm else "amdgcn"]


@contextmanager
def launches(*kernels: str) -> Iterator[list[Launch]]:
    """While open, `kernels` of kernels/triton ("codes_kernel.codes_kernel") note their calls
    instead of running."""
    pytest.importorskip("triton")
    seen: list[Launch] = []
    with pytest.MonkeyPatch.context() as patch:
        for kernel in kernels:
            module, name = kernel.split(".")
            home = import_module(f"llmbench.kernels.triton.{module}")
            patch.setattr(home, name, _Noted(getattr(home, name), seen))
        yield seen


class _Noted:
    def __init__(self, kernel: Any, seen: list[Launch]) -> None:
        self._kernel = kernel
        self._seen = seen

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        assert all(size > 0 for size in grid)
        return self._note

    def _note(self, *args: Any, **kwargs: Any) -> None:
        named = dict(zip(self._kernel.arg_names, args, strict=False))
        self._seen.append(Launch(self._kernel, {**named, **kwargs}))


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"*{_TYPES[value.dtype]}"
    assert isinstance(value, int), value
    return "i32"
