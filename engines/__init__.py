"""The serving strategies: batching, admission, KV cache and quantisation as independent choices.

`LLM` and `SamplingParams` are the Python API; they are imported on first use, so that
`import llmbench.engines` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import kernels as kernels  # arranges threads before PyTorch is loaded

if TYPE_CHECKING:
    from .api import SamplingParams as SamplingParams
    from .llm import LLM as LLM

__all__ = ["LLM", "SamplingParams"]


def __getattr__(name: str) -> Any:
    if name == "LLM":
        from .llm import LLM

        return LLM
    if name == "SamplingParams":
        from .api import SamplingParams

        return SamplingParams
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
