"""The functions of a compiled library, loaded with ctypes where they can run.

Threads come from the OpenMP runtime that PyTorch has loaded: the kernels are handed its
GOMP_parallel, which libgomp and the runtimes of Intel and LLVM all export. The threads of a second
runtime would spin against those of the first.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..registry import KernelError, Predicate
from .build import (
    AMX,
    TARGETS,
    BuildError,
    LoadError,
    Target,
    build,
    cache_directory,
    find_compiler,
)

log = logging.getLogger(__name__)

# By target, why its library could not be built or loaded.
_failures: dict[str, str] = {}

_POINTER, _SIZE, _FLOAT, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
# Every function that shares work ends in the number of threads and GOMP_parallel.
_THREADS = [_INT, _POINTER]
_ARGUMENTS = {
    "linear": [*[_POINTER] * 3, _SIZE, *_THREADS],
    "attention": [*[_POINTER] * 7, *_THREADS],
    "quantized_write": [
        *(_POINTER, _SIZE, _POINTER, _POINTER, _INT, _POINTER),
        *[_SIZE] * 3,
        *_THREADS,
    ],
    "rms_norm": [*[_POINTER] * 3, *[_SIZE] * 2, _FLOAT, *_THREADS],
    "add_rms_norm": [*[_POINTER] * 4, *[_SIZE] * 2, _FLOAT, *_THREADS],
    "silu_mul": [*[_POINTER] * 2, *[_SIZE] * 2, *_THREADS],
    "rope": [_POINTER, _SIZE, *[_POINTER] * 3, *[_SIZE] * 3, *_THREADS],
    "rope_cache_write": [*[_POINTER] * 3, _FLOAT, *[_POINTER] * 5, *[_SIZE] * 4, *_THREADS],
    "argmax": [*[_POINTER] * 2, *[_SIZE] * 2, *_THREADS],
    "sample": [_POINTER, _SIZE, _INT, *[_POINTER] * 6, *[_SIZE] * 2, *_THREADS],
    "decoder_scratch_bytes": [_POINTER, _SIZE],
    "decoder_step": [*[_POINTER] * 2, *_THREADS],
}
_AMX_ARGUMENTS = {"row_major_linear": [*[_POINTER] * 4, *[_SIZE] * 3, *_THREADS]}
_RESULTS = {"decoder_scratch_bytes": _SIZE}


@dataclass(frozen=True)
class Library:
    """The functions that `kernels.cpp` declares, under their names without `llmbench_`.

    parallel: the address of GOMP_parallel in PyTorch's OpenMP runtime, which those that share work
    are handed. row_major_linear: for AMX only.
    """

    linear: Callable[..., None]
    attention: Callable[..., None]
    quantized_write: Callable[..., None]
    rms_norm: Callable[..., None]
    add_rms_norm: Callable[..., None]
    silu_mul: Callable[..., None]
    rope: Callable[..., None]
    rope_cache_write: Callable[..., None]
    argmax: Callable[..., None]
    sample: Callable[..., None]
    decoder_scratch_bytes: Callable[..., int]
    decoder_step: Callable[..., None]
    parallel: int
    row_major_linear: Callable[..., None] | None = None


class Native:
    """The library for a target, found when it is first asked about, and built when it is used.

    One behind a better target that can be used is not built to find out: it is enough that the
    processor has its instructions, for sources and compiler are the same.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    def missing(self) -> str | None:
        """Why it cannot be used here, in a line; None where it can."""
        return None if self._usable else why_unusable(self.target)

    def runs_in(self, *dtypes: torch.dtype) -> Predicate:
        """Any of `dtypes` on a CPU with the instructions, where the library could be built."""
        return lambda device, dtype: device.type == "cpu" and dtype in dtypes and self._usable

    @cached_property
    def library(self) -> Library:
        """Raises KernelError where it cannot be used."""
        if self._found is None:
            raise KernelError(f"the native kernels for {self.target.name!r} cannot be used here")
        return self._found

    @property
    def _usable(self) -> bool:
        before = TARGETS[: TARGETS.index(self.target)]
        if self.target.cpu_flags <= cpu_flags() and any(map(find_library, before)):
            return True
        return self._found is not None

    @cached_property
    def _found(self) -> Library | None:
        return find_library(self.target)


def check_bfloat16(tensor: Tensor) -> None:
    """The library is handed bare pointers. Raises KernelError."""
    if tensor.dtype != torch.bfloat16 or not tensor.is_cpu:
        raise KernelError(f"{tensor.dtype} on {tensor.device} is not bfloat16 on a CPU")


def int64s(values: tuple[int, ...]) -> ctypes.Array[ctypes.c_int64]:
    """As the library reads lengths and starts: by the address of the first."""
    return (ctypes.c_int64 * len(values))(*values)


@cache
def find_library(target: Target) -> Library | None:
    """The kernels for `target`, built if need be; None where they cannot run.

    On a processor without the instructions that is all; the first that fails is also logged as a
    warning.
    """
    try:
        found = load(target)
    except (BuildError, OSError) as error:
        failed = "loaded" if isinstance(error, LoadError) else "built"
        found = str(error)
        _warn_once(
            f"native CPU kernels for {target.name!r} could not be {failed}: {error}. Whatever "
            "comes next computes the same, but slower, and --dtype auto may be float32 for want of "
            "them (llmbench doctor says what it is)"
        )
    if isinstance(found, str):
        _failures[target.name] = found
        return None
    return found


def load(target: Target) -> Library | str:
    """The kernels for `target`, built if need be, or why this machine does not run them.

    Raises BuildError, or OSError where the cache cannot be written, if it would run them.
    """
    parallel = openmp_parallel()
    if parallel is None:
        return "PyTorch has no OpenMP runtime that exports GOMP_parallel"
    if missing := target.cpu_flags - cpu_flags():
        return f"the processor has no {', '.join(sorted(missing))}"
    loaded = _opened(target)
    if not loaded.llmbench_usable():
        return "the system does not grant this process the instructions"
    functions: dict[str, Callable[..., Any]] = {}
    for name, arguments in (_ARGUMENTS | (_AMX_ARGUMENTS if target == AMX else {})).items():
        function = getattr(loaded, f"llmbench_{name}")
        function.argtypes, function.restype = arguments, _RESULTS.get(name)
        functions[name] = function
    return Library(**functions, parallel=parallel)


def _opened(target: Target) -> ctypes.CDLL:
    """The library for `target`, built once more where the one that is there does not load, as after
    a disk was full. Raises as `load`."""
    path = build(target, find_compiler(), cache_directory())
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        log.info("%s could not be loaded (%s): it is compiled again", path, error)
    path.unlink(missing_ok=True)
    path = build(target, find_compiler(), cache_directory())
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise LoadError(str(error)) from error


def why_unusable(target: Target) -> str:
    """Why `find_library` found none, in a line."""
    return _failures[target.name]


@cache
def cpu_flags() -> frozenset[str]:
    """What the first processor can do and Linux has enabled; empty elsewhere and off x86."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split() for line in lines if line.startswith("flags")), ()))


def openmp_parallel() -> int | None:
    """The address of GOMP_parallel in PyTorch's OpenMP runtime, if it has one that exports it."""
    runtime = _openmp_runtime()
    if runtime is None:
        return None
    return ctypes.cast(runtime.GOMP_parallel, ctypes.c_void_p).value


@cache
def _openmp_runtime() -> ctypes.CDLL | None:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    files = {Path(line.split(maxsplit=5)[-1]) for line in lines if ".so" in line}
    runtimes = [file for file in files if file.name.startswith(("libgomp", "libiomp", "libomp"))]
    # Other packages may have brought their own; PyTorch's lies in torch/lib or torch.libs.
    for file in sorted(runtimes, key=lambda file: (not _is_of_torch(file), str(file))):
        runtime = ctypes.CDLL(str(file))
        if hasattr(runtime, "GOMP_parallel"):
            return runtime
    return None


def _is_of_torch(file: Path) -> bool:
    return any(part in ("torch", "torch.libs") for part in file.parts)


_warned = False


def _warn_once(message: str) -> None:
    """The targets of one machine mostly fail for one reason."""
    global _warned
    if not _warned:
        _warned = True
        log.warning(message)
