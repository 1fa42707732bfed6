"""Whole decode steps in one kernel, where there is one for the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...kernels.decoder import DecoderStep, DecoderWeights
from ...kernels.registry import implementations, select

OP = "decoder_step"
AFTER_A_STEP = {"argmax", "sample"}
MakeStep = Callable[[DecoderWeights], DecoderStep]


def select_step(
    device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> str | None:
    """The name of the implementation of `decoder_step` to use there; None where models are always
    computed operation by operation.

    A fused step computes every operation itself, so it cannot obey who forces one of them. The
    reference is chosen only by force. Raises KernelError as `select` does.
    """
    force = force or {}
    if OP not in force and set(force) - AFTER_A_STEP:
        return None
    name = select(OP, device, dtype, force).name
    return name if name != "reference" or OP in force else None


def step_maker(name: str) -> MakeStep:
    """The implementation of that name: it makes a step of a model's weights, or raises KernelError
    for a model that it does not compute."""
    return next(one.function for one in implementations(OP) if one.name == name)
