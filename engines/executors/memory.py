"""What to do about a device that has no memory left, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import OutOfMemory

# By what each takes: room for keys and values, intermediate tensors of a step, and graphs.
_OF_A_STEP = "--kv-memory, --max-num-batched-tokens or --max-num-seqs"


@contextmanager
def explained(doing: str, device: torch.device, lower: str = _OF_A_STEP) -> Iterator[None]:
    """Turns torch's error into `OutOfMemory`. doing: what there was no room for."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(doing, str(device), lower) from error
