"""Compiles what the host's side of a Triton kernel launches, for devices that need not be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
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
    torch.int32: "i32",
    torch.int64: "i64",
}
TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "gfx942": ("hip", "gfx942", 64),
}
# Bytes of shared memory that a program may have on any device of the kind.
SHARED = {"cuda": 99 * 1024, "hip": 64 * 1024}
each_target = pytest.mark.parametrize("target", TARGETS)


@dataclass(frozen=True)
class Launch:
    kernel: Any
    args: tuple[object, ...]
    constants: dict[str, object]
    warps: int
    stages: int


def launches(
    module: ModuleType, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> list[Launch]:
    """What `call` launches through `module`, with nothing run."""
    found: list[Launch] = []

    def record(
        kernel: Any,
        _grid: tuple[int, ...],
        *args: object,
        warps: int,
        stages: int = 3,
        **constants: object,
    ) -> None:
        found.append(Launch(kernel, args, constants, warps, stages))

    monkeypatch.setattr(module, "launch", record)
    call()
    return found


def compile_for(target: str, launch: Launch) -> Any:
    """The launch as Triton would compile it there, for its arguments' types and, where the kernel
    allows it, for integers that are one and what is a multiple of 16.
    Its shared memory is within what every such device has."""
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    if knobs.runtime.interpret:
        pytest.skip("Triton's interpreter is on, which compiles nothing")
    signature, attributes, constants = {}, {}, dict(launch.constants)
    for index, (parameter, arg) in enumerate(zip(launch.kernel.params, launch.args, strict=False)):
        special = not parameter.do_not_specialize
        if arg is None or (special and isinstance(arg, int) and arg == 1):
            constants[parameter.name] = arg
            continue
        signature[parameter.name] = _type_of(arg)
        if special and (isinstance(arg, torch.Tensor) or (isinstance(arg, int) and arg % 16 == 0)):
            attributes[index,] = [["tt.divisibility", 16]]
    signature |= dict.fromkeys(constants, "constexpr")
    ordered = {name: signature[name] for name in launch.kernel.arg_names}
    source = ASTSource(launch.kernel, ordered, constants, attributes)
    options = {"num_warps": launch.warps, "num_stages": launch.stages}
    made = compile(source, target=GPUTarget(*TARGETS[target]), options=options)
    assert made.metadata.shared <= SHARED[TARGETS[target][0]]
    return made


def _type_of(arg: object) -> str:
    if isinstance(arg, torch.Tensor):
        return f"*{TYPES[arg.dtype]}"
    return "i32" if isinstance(arg, int) else "fp32"
