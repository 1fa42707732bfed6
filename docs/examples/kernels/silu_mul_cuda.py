"""A kernel of one's own in CUDA C++: `llmbench run --kernel silu_mul=silu_mul_cuda.py`.

silu_mul.cu is compiled with nvcc when the kernel is first called, and kept beside other things
that llmbench has built.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch
from llmbench.kernels.plugin import KernelError, implements

SOURCE = Path(__file__).with_name("silu_mul.cu")
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


def on_cuda(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cuda" and dtype in DTYPES


def missing() -> str | None:
    return None if shutil.which("nvcc") else "nvcc is not on the path"


def build(directory: Path, *flags: str) -> Path:
    """The library, compiled unless it is there. flags: such as -arch=sm_90. Raises KernelError."""
    digest = sha256(SOURCE.read_bytes() + " ".join(flags).encode()).hexdigest()[:16]
    library = directory / f"silu_mul-{digest}.so"
    if not library.exists():
        directory.mkdir(parents=True, exist_ok=True)
        made = library.with_suffix(f".{os.getpid()}")
        command = ["nvcc", "-O3", "-shared", "-Xcompiler", "-fPIC", *flags, "-o", made, SOURCE]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            first = next((line for line in run.stderr.splitlines() if "error" in line), "")
            raise KernelError(f"nvcc failed with {run.returncode}: {first}")
        made.replace(library)
    return library


@cache
def launcher() -> ctypes._CFuncPtr:
    major, minor = torch.cuda.get_device_capability()
    root = Path(os.environ.get("LLMBENCH_CACHE") or "~/.cache/llmbench").expanduser()
    library = ctypes.CDLL(str(build(root / "kernels", f"-arch=sm_{major}{minor}")))
    pointer, number = ctypes.c_void_p, ctypes.c_longlong
    library.silu_mul_launch.argtypes = [pointer, pointer, number, number, ctypes.c_int, pointer]
    return library.silu_mul_launch


@implements("silu_mul", backend="my-cuda", when=on_cuda, needs=missing, priority=200)
def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    gate_up = gate_up.contiguous()
    size = gate_up.shape[-1] // 2
    y = gate_up.new_empty(*gate_up.shape[:-1], size)
    error = launcher()(
        gate_up.data_ptr(),
        y.data_ptr(),
        y.numel() // size if size else 0,
        size,
        DTYPES[gate_up.dtype],
        torch.cuda.current_stream(gate_up.device).cuda_stream,
    )
    if error:
        raise RuntimeError(f"silu_mul_launch: CUDA error {error}")
    return y
