"""Which function computes an operation on a device: N implementations, one choice, no magic.

A module says what it implements with the decorator; the registry imports the modules of an
operation when it is first asked for. Other packages add theirs through the entry-point group
`llmbench.kernels`: an entry point is named after an operation and names a module to import. A file
or module named on the command line is added by `choices.load_plugin`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

import torch

from .dispatch import CallPredicate, Implementation, Predicate, Selection
from .errors import KernelError as KernelError
from .errors import cause
from .requirements import Needs
from .signature import check_signature

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_QUANTIZED_KV = (
    "reference.quantized_kv",
    "pytorch.quantized_kv",
    "native.quantized_kv",
    "triton.quantized_kv",
)
# Each operation, defined by its reference, and the modules that implement it.
OPS: dict[str, tuple[str, ...]] = {
    "paged_attention": (
        "reference.attention",
        "pytorch.attention",
        "native.attention",
        "triton.attention",
    ),
    "contiguous_attention": (
        "reference.attention",
        "pytorch.attention",
        "native.attention",
        "triton.attention",
    ),
    "cache_write": ("reference.cache", "pytorch.cache", "triton.cache"),
    "quantized_paged_attention": _QUANTIZED_KV,
    "quantized_contiguous_attention": _QUANTIZED_KV,
    "quantized_cache_write": _QUANTIZED_KV,
    "rms_norm": ("reference.norm", "pytorch.norm", "native.elementwise", "triton.norm"),
    "add_rms_norm": ("reference.norm", "pytorch.norm", "native.elementwise", "triton.norm"),
    "rope": ("reference.rope", "pytorch.rope", "native.elementwise", "triton.rope"),
    "rope_cache_write": ("reference.rope", "pytorch.rope", "native.elementwise", "triton.rope"),
    "silu_mul": (
        "reference.activation",
        "pytorch.activation",
        "native.elementwise",
        "triton.activation",
    ),
    "linear": ("reference.linear", "pytorch.linear", "native.linear"),
    "w8a8_linear": ("reference.w8a8", "pytorch.w8a8", "native.w8a8", "triton.w8a8"),
    "fp8_linear": ("reference.fp8", "pytorch.fp8", "native.fp8", "triton.fp8", "pytorch.scaled_mm"),
    "w4a8_linear": ("reference.w4a8", "pytorch.w4a8", "native.w4a8", "triton.w4a8"),
    "w4a16_linear": ("reference.w4a16", "pytorch.w4a16", "native.w4a16", "triton.w4a16"),
    "w8a16_linear": ("reference.w8a16", "pytorch.w8a16", "native.w8a16", "triton.w8a16"),
    "fp4_linear": ("reference.fp4", "pytorch.fp4", "native.fp4", "triton.fp4"),
    "decoder_step": ("reference.decoder", "native.decoder"),
    "argmax": ("reference.argmax", "pytorch.argmax", "native.argmax"),
    "sample": ("reference.sample", "pytorch.sample", "native.sample", "triton.sample"),
}
_registered: dict[str, dict[str, Implementation]] = {op: {} for op in OPS}


def anywhere(_device: torch.device, _dtype: torch.dtype) -> bool:
    """The predicate of an implementation that runs on every device, in every dtype."""
    return True


def on_cpu(device: torch.device, dtype: torch.dtype) -> bool:
    """Of one that runs on a CPU, in every floating-point dtype."""
    return device.type == "cpu" and dtype.is_floating_point


def bfloat16_on_cpu(device: torch.device, dtype: torch.dtype) -> bool:
    """Of one that runs on a CPU in bfloat16."""
    return device.type == "cpu" and dtype == torch.bfloat16


def in_usual_dtypes(_device: torch.device, dtype: torch.dtype) -> bool:
    """Of one that runs on any device, in the dtypes that models have."""
    return dtype in (torch.float32, torch.float16, torch.bfloat16)


def implements(
    op: str,
    *,
    backend: str,
    when: Predicate = anywhere,
    priority: int = 0,
    takes: CallPredicate | None = None,
    prefers: CallPredicate | None = None,
    needs: Needs | None = None,
    emulates: str | None = None,
) -> Callable[[F], F]:
    """Register the decorated function or class as `backend`'s implementation of `op`.

    when: for which device and dtype it is made.
    priority: of those that may run, the highest is asked first. Convention: the reference -100,
    portable PyTorch 0, made for the device 100 and more.
    takes: whether it can compute a call at all; given the call's own arguments, or of an operation
    that is a class the constructor's.
    prefers: whether it is the better choice at this shape, for a call that it takes; given the same
    arguments, and of a class the constructor's and then the call's. Of a class, everything that may
    be called is prepared, so a `prefers` costs a second form of the weights.
    needs: why it cannot run here, in a line (`triton is not installed`); None where it can.
    emulates: of one that computes a method in another arithmetic than its own, what it does
    instead: its speed says nothing about the method on hardware that has it.

    A backend whose name begins with `triton` is Triton's code: while that is interpreted
    (TRITON_INTERPRET=1), it may be forced and checked on a CPU.
    Raises KernelError for an unknown operation or a name that is taken.
    """
    known("operation", op, OPS)

    def register(function: F) -> F:
        if backend in _registered[op]:
            raise KernelError(
                f"{op}: implementation {backend!r} is registered twice; choose another backend name"
            )
        _registered[op][backend] = Implementation(
            op, backend, function, when, priority, takes, prefers, needs, emulates
        )
        return function

    return register


def implementations(op: str) -> tuple[Implementation, ...]:
    """Every implementation of `op`, best first. Raises KernelError for an unknown operation, and
    for one that is registered with another signature than the reference's."""
    known("operation", op, OPS)
    _load(op)
    return tuple(sorted(_registered[op].values(), key=lambda one: (-one.priority, one.name)))


def reference(op: str) -> Implementation:
    """The implementation that defines `op`."""
    return next(one for one in implementations(op) if one.name == "reference")


def prepares(op: str) -> bool:
    """Whether `op` is a class: weights first, then calls."""
    return isinstance(reference(op).function, type)


def select(
    op: str, device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> Selection:
    """The implementations of `op` to use on `device` for activations of `dtype`.

    force: operation -> implementation name, a choice that is obeyed or refused, never replaced.
    Raises KernelError for an unknown name or where the forced implementation cannot run.
    """
    found = implementations(op)
    for forced_op in force or {}:
        known("operation", forced_op, OPS)
    if force and op in force:
        named = {one.name: one for one in found}
        chosen = named[known(f"implementation of {op}", force[op], named)]
        if reason := chosen.why_not(device, dtype):
            raise KernelError(f"{op}: {chosen.name!r} cannot be used: {reason}")
        return Selection(op, (chosen,), prepares(op), forced=True)
    # The reference runs anywhere, so there is always one.
    able = tuple(one for one in found if one.is_chosen_on(device, dtype))
    return Selection(op, able, prepares(op))


def registered_by(load: Callable[[], T]) -> tuple[T, tuple[Implementation, ...]]:
    """What `load` returns, and the implementations that it registers; none stays where it raises,
    or where one cannot be called as its operation is (KernelError)."""
    before = {op: dict(found) for op, found in _registered.items()}
    try:
        loaded = load()
        added = tuple(
            one
            for op, found in _registered.items()
            for name, one in found.items()
            if name not in before[op]
        )
        for one in added:
            check_signature(one.op, one.name, one.function, reference(one.op).function)
    except BaseException:
        _registered.update(before)
        raise
    return loaded, added


def known(
    what: str,
    name: str,
    names: Mapping[str, object],
    suggests: Callable[[str], bool] = lambda _: True,
) -> str:
    """The name, if it is one of `names`. Raises KernelError, with the nearest spelling of those
    that `suggests` holds for."""
    if name in names:
        return name
    near = get_close_matches(name, filter(suggests, names), n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise KernelError(f"{what} {name!r} is not one of {', '.join(sorted(names))}{hint}")


@cache
def _load(op: str) -> None:
    for module in OPS[op]:
        import_module(f".{module}", __package__)
    for entry in entry_points(group="llmbench.kernels", name=op):
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # whatever another package does wrong
            raise KernelError(
                f"{op}: the installed kernel {entry.value!r} does not import: {cause(error)}"
            ) from error
    definition = _registered[op]["reference"].function
    for one in _registered[op].values():
        check_signature(op, one.name, one.function, definition)
