"""An engine resolved without a model or a machine."""

from __future__ import annotations

from typing import Any

from llmbench.engines.config import EngineConfig
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.step import Limits

LIMITS = Limits(8, 512, 1024)
DECIDED: dict[str, Any] = {
    "quant": "none",
    "dtype": "bfloat16",
    "model_impl": "native",
    "cuda_graphs": "off",
    "async_scheduling": False,
}


def resolved(asked: EngineConfig, kv_memory_bytes: int = 2**20, **changes: Any) -> ResolvedEngine:
    return ResolvedEngine.of(
        asked, limits=LIMITS, kv_memory_bytes=kv_memory_bytes, **{**DECIDED, **changes}
    )
