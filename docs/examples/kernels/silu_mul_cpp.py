"""A kernel of one's own in C++, in one file: `llmbench run --kernel silu_mul=silu_mul_cpp.py`.

It is compiled when it is first called, and kept beside other things that llmbench has built.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch
from llmbench.kernels.plugin import KernelError, implements

COMPILER = os.environ.get("CXX", "g++")
COMMAND = [COMPILER, "-O3", "-march=native", "-shared", "-fPIC", "-x", "c++", "-"]
# gate_up [tokens, 2 * size], gate first; y [tokens, size]. bfloat16 is the upper half of a float.
SOURCE = r"""
#include <cmath>
#include <cstdint>
#include <cstring>

static float widen(uint16_t half) {
  uint32_t bits = uint32_t(half) << 16;
  float number;
  std::memcpy(&number, &bits, 4);
  return number;
}

static uint16_t narrow(float number) {  // to the nearest, ties to even
  if (std::isnan(number)) return 0x7fc0;
  uint32_t bits;
  std::memcpy(&bits, &number, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

extern "C" void silu_mul(const uint16_t* gate_up, uint16_t* y, int64_t tokens, int64_t size) {
  for (int64_t row = 0; row < tokens; ++row, gate_up += 2 * size, y += size) {
    for (int64_t i = 0; i < size; ++i) {
      const float gate = widen(gate_up[i]);
      y[i] = narrow(gate / (1 + std::exp(-gate)) * widen(gate_up[size + i]));
    }
  }
}
"""


def on_cpu(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype == torch.bfloat16


def missing() -> str | None:
    return None if shutil.which(COMPILER) else f"{COMPILER} is not on the path"


@cache
def compiled() -> Callable[..., None]:
    """Compiled unless it is there. Raises KernelError."""
    digest = sha256(" ".join([*COMMAND, SOURCE]).encode()).hexdigest()[:16]
    root = Path(os.environ.get("LLMBENCH_CACHE") or "~/.cache/llmbench").expanduser()
    library = root / "kernels" / f"silu_mul-{digest}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        made = library.with_suffix(f".{os.getpid()}")
        command = [*COMMAND, "-o", str(made)]
        run = subprocess.run(command, input=SOURCE, capture_output=True, text=True, check=False)
        if run.returncode:
            first = next((line for line in run.stderr.splitlines() if "error" in line), "")
            raise KernelError(f"{COMPILER} failed with {run.returncode}: {first}")
        made.replace(library)
    function = ctypes.CDLL(str(library)).silu_mul
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function.argtypes, function.restype = [pointer, pointer, number, number], None
    return function


@implements("silu_mul", backend="my-cpp", when=on_cpu, needs=missing, priority=200)
def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    gate_up = gate_up.contiguous()
    size = gate_up.shape[-1] // 2
    y = gate_up.new_empty(*gate_up.shape[:-1], size)
    compiled()(gate_up.data_ptr(), y.data_ptr(), y.numel() // size if size else 0, size)
    return y
