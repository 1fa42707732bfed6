"""Where a run ran: what a reader needs to judge whether two runs may be compared.

Host and user names are not recorded: a result is made to be shared.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from ...kernels.control_groups import cpu_quota, text_of
from ...kernels.threads import COUNT, POLICY, SPINS

# What decides which matrix kernels a CPU can run; /proc/cpuinfo's spelling.
ISA_FLAGS = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512vbmi",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",  # Arm
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
PACKAGES = (
    "llmbench",
    "torch",
    "triton",
    "transformers",
    "tokenizers",
    "safetensors",
    "gguf",
    "numpy",
    "pandas",
    "pyarrow",
)
_TREE = Path(__file__).resolve().parents[2]


def capture(*, seed: int, import_torch: bool = False) -> dict[str, Any]:
    """The environment as JSON-able data; what cannot be known is None.

    import_torch: load torch to ask for threads and devices; else only if it is loaded already.
    """
    return {
        "seed": seed,
        "python": platform.python_version(),
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu(),
        "memory_bytes": _memory_bytes(),
        "load_average_1min": _load_average(),
        "torch": _torch() if import_torch or "torch" in sys.modules else None,
        "gpus": gpus(),
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "packages": {name: package_version(name) for name in PACKAGES},
        "git": git_state(_TREE),
    }


_THREAD_VARIABLES = (COUNT, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", SPINS, POLICY)


def cpu() -> dict[str, Any]:
    """Model, cores of the machine, cores and quota this process may use, and instruction sets."""
    model, flags = read_cpuinfo(text_of(Path("/proc/cpuinfo")))
    return {
        "model": model or platform.processor() or None,
        "logical_cores": os.cpu_count(),
        "physical_cores": _physical_cores(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "cgroup_limit_cores": cpu_quota(),
        "isa": flags,
    }


def read_cpuinfo(text: str) -> tuple[str | None, list[str]]:
    """Model name and the instruction sets of interest, from /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    present = set(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name"), [flag for flag in ISA_FLAGS if flag in present]


def gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs: name, memory_bytes, driver. Empty where the driver's own tool is absent."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = "--query-gpu=name,memory.total,driver_version"
    text = output_of([tool, query, "--format=csv,noheader,nounits"])
    rows = [line.split(", ") for line in (text or "").splitlines()]
    return [
        {"name": row[0], "memory_bytes": _mebibytes(row[1]), "driver": row[2]}
        for row in rows
        if len(row) == 3
    ]


def git_state(tree: Path) -> dict[str, Any] | None:
    """Commit of the checkout that this code runs from, and whether it has changes; None if this
    is no checkout (a wheel), or git is not there."""
    if not (tree / ".git").exists():
        return None
    commit = output_of(["git", "-C", str(tree), "rev-parse", "--verify", "HEAD"])
    changes = output_of(["git", "-C", str(tree), "status", "--porcelain"])
    if commit is None or changes is None:
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _torch() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cuda": torch.version.cuda,
        "cuda_devices": [
            {
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "capability": f"{properties.major}.{properties.minor}",
            }
            for properties in map(
                torch.cuda.get_device_properties, range(torch.cuda.device_count())
            )
        ]
        if cuda
        else [],
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _physical_cores() -> int | None:
    import psutil

    return psutil.cpu_count(logical=False)


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _mebibytes(text: str) -> int | None:
    # Some boards print "[N/A]": memory shared with the host.
    return int(text) * 2**20 if text.strip().isdigit() else None


def output_of(command: list[str]) -> str | None:
    """What a command prints; None if it fails or takes longer than 5 s."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
