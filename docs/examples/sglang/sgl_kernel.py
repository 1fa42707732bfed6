"""What SGLang 0.5 asks of its own kernels on a CPU that has no AMX, where PyPI has none for a CPU.

Its layers, attention (`torch_native`) and sampling are then PyTorch's. It needs one kernel, which
writes the places of new tokens into the table of requests; the others that it imports are for
features that are not used (speculation), and say so when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def assign_req_to_token_pool_cpu(
    req_pool_indices: Any,
    req_to_token: Any,
    start_offset: Any,
    end_offset: Any,
    out_cache_loc: Any,
    _pool_len: int,
) -> None:
    """Row i of the table gets the next `end - start` places, from `start` on.

    req_pool_indices, start_offset, end_offset [requests]; req_to_token [rows, tokens], changed;
    out_cache_loc [new tokens of all requests], in their order.
    """
    at = 0
    for row, start, end in zip(
        req_pool_indices.tolist(), start_offset.tolist(), end_offset.tolist(), strict=True
    ):
        req_to_token[row, start:end] = out_cache_loc[at : at + end - start]
        at += end - start


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def absent(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"sgl_kernel.{name} is not built here")

    return absent
