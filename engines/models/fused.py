"""Whole decode steps in one kernel, where there is one for the model."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...kernels.decoder import DecoderStep, DecoderWeights
from ...kernels.registry import OPS, implementations, prepares, select
from ..forced import DECODER_STEP as OP
from ..forced import forced_within


def select_step(
    device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> str | None:
    """The name of the implementation of `decoder_step` to use there; None where models are always
    computed operation by operation.

    The reference is chosen only by force. Raises KernelError as `select` does.
    """
    force = force or {}
    if forced_within({*force, *installed_first(device, dtype)}):
        return None
    name = select(OP, device, dtype, force).name
    return name if name != "reference" or OP in force else None


def installed_first(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """The operations that a kernel of another package computes there, before ours: our step in one
    kernel would pass it over. Linear maps are not asked about: a step is given those of the
    package, and takes them or not."""
    return tuple(
        op
        for op in OPS
        if (op == OP or not prepares(op)) and not select(op, device, dtype).candidates[0].ships
    )


def fused_step(name: str, weights: DecoderWeights) -> DecoderStep | None:
    """The step of that implementation over a model's weights; None for a model that it does not
    take. Raises KernelError for weights that contradict themselves."""
    one = next(one for one in implementations(OP) if one.name == name)
    if one.takes is not None and not one.takes(weights):
        return None
    return one.function(weights)
