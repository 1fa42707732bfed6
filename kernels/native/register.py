"""A native kernel becomes an implementation of an operation for each instruction set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from ..dispatch import CallPredicate
from ..registry import implements
from .build import TARGETS, Target, digest, find_compiler
from .library import Native


def register(
    op: str,
    make: Callable[[Native], Callable[..., Any]],
    *,
    targets: Sequence[Target] = TARGETS,
    dtypes: Sequence[torch.dtype] = (torch.bfloat16,),
    takes: CallPredicate | None = None,
    prefers: CallPredicate | None = None,
    emulates: str | None = None,
) -> None:
    """What `make` makes of each target's library computes `op` for activations of `dtypes`; the
    best instruction set is asked first. takes, prefers, emulates: as `implements` has them."""
    for target in targets:
        native = Native(target)
        implements(
            op,
            backend=_backend(target),
            when=native.runs_in(*dtypes),
            priority=target.priority,
            takes=takes,
            prefers=prefers,
            needs=native.missing,
            emulates=emulates,
        )(make(native))


def digests(backends: Iterable[str]) -> dict[str, str]:
    """What the native ones of these were made from, as `build.digest` has it, by backend."""
    used = set(backends)
    targets = [target for target in TARGETS if _backend(target) in used]
    return {_backend(target): digest(target, find_compiler()) for target in targets}


def _backend(target: Target) -> str:
    return f"native-{target.name}"
