"""Triton's kernels compiled for GPUs that are not here, with the arguments of real launches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import torch

TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8e4nv",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
}
TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "gfx942": ("hip", "gfx942", 64),
}
# For what runs in every step, or is compiled differently there.
OTHER_TARGETS = {
    "sm_89": ("cuda", 89, 32),
    "sm_100": ("cuda", 100, 32),
    "sm_120": ("cuda", 120, 32),
}
# Bytes of shared memory that a program may have on any device of the kind.
SHARED = {"cuda": 99 * 1024, "hip": 64 * 1024}
each_target = pytest.mark.parametrize("target", TARGETS)
_OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True)
class Launch:
    """A kernel and what it was called with; it did not run, so its outputs are as they were."""

    kernel: Any
    arguments: dict[str, Any]

    @property
    def variant(self) -> tuple[tuple[str, str], ...]:
        """What Triton compiles anew for: another type, constant, or alignment of where it lies."""
        found: list[tuple[str, str]] = []
        for parameter in self.kernel.params:
            name, value = parameter.name, self.arguments[parameter.name]
            if parameter.is_constexpr or value is None:
                found.append((name, str(value)))
                continue
            at = value.data_ptr() if isinstance(value, torch.Tensor) else value
            special = f" {_is_one(value)} {isinstance(at, int) and at % 16 == 0}"
            found.append((name, _type_of(value) + special * (not parameter.do_not_specialize)))
        return tuple(found)

    def compile(self, target: str) -> str:
        """The assembly of what `made` makes."""
        made = self.made(target)
        return made.asm["ptx" if "ptx" in made.asm else "amdgcn"]

    def made(self, target: str) -> Any:
        """Compiled for one of TARGETS or OTHER_TARGETS, as Triton would there for these arguments:
        where the kernel allows it, for integers that are one and for what is a multiple of 16.

        Its shared memory is within what every such device has. Raises what Triton raises.
        """
        from triton import knobs
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource, compile

        if knobs.runtime.interpret:
            pytest.skip("Triton's interpreter is on, which compiles nothing")
        options = {name: self.arguments[name] for name in _OPTIONS if name in self.arguments}
        signature, attributes, constants = {}, {}, {}
        for index, parameter in enumerate(self.kernel.params):
            name, value = parameter.name, self.arguments[parameter.name]
            special = not parameter.do_not_specialize
            if parameter.is_constexpr or value is None or (special and _is_one(value)):
                constants[name], signature[name] = value, "constexpr"
                continue
            signature[name] = _type_of(value)
            if special and _is_aligned(value):
                attributes[index,] = [["tt.divisibility", 16]]
        source = ASTSource(self.kernel, signature, constants, attributes)
        device = {**TARGETS, **OTHER_TARGETS}[target]
        made = compile(source, target=GPUTarget(*device), options=options)
        assert made.metadata.shared <= SHARED[device[0]]
        return made


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


def as_on(target: str, patch: pytest.MonkeyPatch, *modules: Any) -> None:
    """While patched, `modules` choose as on the target: some ask whether they are on AMD."""
    for module in modules:
        patch.setattr(module, "on_amd", lambda: target.startswith("gfx"))


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


def _is_one(value: object) -> bool:
    return isinstance(value, int) and value == 1


def _is_aligned(value: object) -> bool:
    return isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0)


def _type_of(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"*{TYPES[value.dtype]}"
    return "i32" if isinstance(value, int) else "fp32"
