"""Whether another library is here: found out before anything is said to be loaded into it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ...engines.errors import ConfigError

_HOW = {
    "vllm": "vLLM installed here: pip install vllm, or for a CPU see docs/peers.md",
    "tensorrt_llm": "TensorRT-LLM installed here: pip install tensorrt-llm, with an NVIDIA GPU",
}


def not_installed(library: str) -> ConfigError:
    return ConfigError("target", library, _HOW[library])


def refuse_absent(library: str) -> None:
    """Raises ConfigError for one of these libraries that is not installed; imports nothing."""
    if library not in _HOW or sys.modules.get(library) is not None:
        return
    try:
        found = find_spec(library)
    except ImportError:
        return  # importing it says what is broken
    if found is None:
        raise not_installed(library)
