"""Which function computes an operation on a device: N implementations, one choice, no magic.

A module says what it implements with the decorator; the registry imports the modules of an
operation when it is first asked for. Other packages add theirs through the entry-point group
`llmbench.kernels`: an entry point is named after an operation and names a module to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

import torch

Predicate = Callable[[torch.device, torch.dtype], bool]
F = TypeVar("F", bound=Callable[..., Any])

_QUANTIZED_KV = ("reference.quantized_kv", "cpu.quantized_kv", "cpu.native.quantized_kv")
# Each operation, defined by its reference, and the modules that implement it.
OPS: dict[str, tuple[str, ...]] = {
    "paged_attention": ("reference.attention", "cpu.attention", "cpu.native.attention"),
    "contiguous_attention": ("reference.attention", "cpu.attention", "cpu.native.attention"),
    "cache_write": ("reference.cache", "cpu.cache"),
    "quantized_paged_attention": _QUANTIZED_KV,
    "quantized_contiguous_attention": _QUANTIZED_KV,
    "quantized_cache_write": _QUANTIZED_KV,
    "rms_norm": ("reference.norm", "cpu.norm", "cpu.native.elementwise"),
    "add_rms_norm": ("reference.norm", "cpu.norm"),
    "rope": ("reference.rope", "cpu.rope", "cpu.native.elementwise"),
    "rope_cache_write": ("reference.rope", "cpu.rope"),
    "silu_mul": ("reference.activation", "cpu.activation", "cpu.native.elementwise"),
    "linear": ("reference.linear", "cpu.linear", "cpu.native.linear"),
    "w8a8_linear": ("reference.w8a8", "cpu.w8a8"),
    "w4a16_linear": ("reference.w4a16", "cpu.w4a16", "triton.w4a16"),
}
_registered: dict[str, dict[str, Implementation]] = {op: {} for op in OPS}


class KernelError(ValueError):
    """An operation, an implementation or a shape that cannot be computed; one line says why."""


@dataclass(frozen=True)
class Implementation:
    """One way to compute `op`. Of those whose `when` holds, the highest priority is chosen."""

    op: str
    name: str
    function: Callable[..., Any]
    when: Predicate
    priority: int


def anywhere(_device: torch.device, _dtype: torch.dtype) -> bool:
    """The predicate of an implementation that runs on every device, in every dtype."""
    return True


def implements(
    op: str, *, backend: str, when: Predicate = anywhere, priority: int = 0
) -> Callable[[F], F]:
    """Register the decorated function or class as `backend`'s implementation of `op`.

    Convention for `priority`: the reference -100, portable PyTorch 0, made for the device 100.
    Raises KernelError for an unknown operation or a name that is taken.
    """
    _known("operation", op, OPS)

    def register(function: F) -> F:
        if backend in _registered[op]:
            raise KernelError(f"{op}: implementation {backend!r} is registered twice")
        _registered[op][backend] = Implementation(op, backend, function, when, priority)
        return function

    return register


def implementations(op: str) -> tuple[Implementation, ...]:
    """Every implementation of `op`, best first. Raises KernelError for an unknown operation."""
    _known("operation", op, OPS)
    _load(op)
    return tuple(sorted(_registered[op].values(), key=lambda one: (-one.priority, one.name)))


def select(
    op: str, device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> Implementation:
    """The implementation of `op` to use on `device` for activations of `dtype`.

    force: operation -> implementation name, a choice that is obeyed or refused, never replaced.
    Raises KernelError for an unknown name or where the forced implementation cannot run.
    """
    found = {one.name: one for one in implementations(op)}
    for forced_op in force or {}:
        _known("operation", forced_op, OPS)
    if force and op in force:
        chosen = found[_known(f"implementation of {op}", force[op], found)]
        if not chosen.when(device, dtype):
            raise KernelError(f"{op}: {chosen.name!r} does not run on {device.type} in {dtype}")
        return chosen
    # The reference runs anywhere, so there is always one.
    return next(one for one in found.values() if one.when(device, dtype))


@cache
def _load(op: str) -> None:
    for module in OPS[op]:
        import_module(f".{module}", __package__)
    for entry in entry_points(group="llmbench.kernels", name=op):
        entry.load()


def _known(what: str, name: str, names: Mapping[str, object]) -> str:
    if name in names:
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise KernelError(f"{what} {name!r} is not one of {', '.join(sorted(names))}{hint}")
