"""Whole decode steps in one kernel, where there is one for the model."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...kernels.decoder import DecoderStep, DecoderWeights
from ...kernels.registry import implementations, select
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
    if forced_within(force):
        return None
    name = select(OP, device, dtype, force).name
    return name if name != "reference" or OP in force else None


def fused_step(name: str, weights: DecoderWeights) -> DecoderStep | None:
    """The step of that implementation over a model's weights; None for a model that it does not
    take. Raises KernelError for weights that contradict themselves."""
    one = next(one for one in implementations(OP) if one.name == name)
    if one.takes is not None and not one.takes(weights):
        return None
    return one.function(weights)
