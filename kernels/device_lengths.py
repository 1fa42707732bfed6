"""The lengths of a ragged batch as tensors, for kernels that read them on the device.

What a kernel on an accelerator may rely on, and an executor that captures a step in a graph, too:

- How many programs are launched, and which kernel, depends on shapes and on the batch's tuples
  alone: their number, whether every query length is one, and the longest KV length. Nothing waits
  for the device, and nothing is allocated but by `torch.empty`.
- Every length that decides what is computed is read from these tensors when the kernel runs.

So a graph captured with a batch whose tuples are upper bounds (as many sequences, as long as any
may become) serves every step that fits in them: before a replay the executor writes the step's
lengths, starts, block tables and slots into the same tensors. Of such a step:

- A captured batch with one new token a sequence stays one: query_starts is not read, a sequence
  whose kv_length is 0 is padding, and its row of the result is zeros.
- In any other batch, sequences past the last have no new tokens (their query_starts repeat the
  total), and rows of the result from query_starts[-1] on are left as they were.
- A token whose slot is negative is not written to the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class DeviceLengths:
    """S sequences. query_starts: int32 [S + 1], the first token of each in the packed dimension,
    then their total. kv_lengths: int32 [S]. starts: int64 [S], a contiguous sequence's first slot;
    None if the cache is paged. All contiguous, on one device."""

    query_starts: Tensor
    kv_lengths: Tensor
    starts: Tensor | None = None


def copied_to(
    device: torch.device,
    query_lengths: Sequence[int],
    kv_lengths: Sequence[int],
    starts: Sequence[int] = (),
) -> DeviceLengths:
    """The lengths on `device`, brought there by one copy that nothing waits for."""
    # The wide numbers first, where they are aligned.
    words = (
        torch.tensor(starts, dtype=torch.int64, device="cpu").view(torch.int32),
        torch.tensor([*accumulate(query_lengths, initial=0)], dtype=torch.int32, device="cpu"),
        torch.tensor(kv_lengths, dtype=torch.int32, device="cpu"),
    )
    host = torch.cat(words)
    if device.type == "cuda":
        # From pageable memory a copy would wait for the device.
        host = host.pin_memory()
    copied = host.to(device, non_blocking=True).split([len(one) for one in words])
    first_slots, query_starts, on_device = copied
    return DeviceLengths(query_starts, on_device, first_slots.view(torch.int64) if starts else None)
