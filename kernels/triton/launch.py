"""One launch of a Triton kernel. Triton's own call is typed for the kernel's inside, not for its
callers."""

from __future__ import annotations

from typing import Any


def launch(
    kernel: Any,  # a jit function, or what the interpreter makes of one
    grid: tuple[int, ...],
    *args: object,
    warps: int,
    stages: int | None = 3,
    **constants: object,
) -> None:
    """`kernel` over `grid`, its compile-time constants by name. stages: of loops that are
    pipelined, where it has such; None: as many as Triton has for the device."""
    options = {} if stages is None else {"num_stages": stages}
    kernel[grid](*args, **constants, num_warps=warps, **options)
