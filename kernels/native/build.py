"""From C++ source to a library: a small one for each instruction set, kept in the cache.

The sources need no headers but the compiler's own and see their caller through a C ABI, so they
compile in seconds, 5 to 13 of them, and are tied to no version of PyTorch.
"""

from __future__ import annotations

import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent
# Hidden: the tables and templates of two instruction sets, which bear the same names, would become
# one where a process loads both.
FLAGS = (
    *("-std=c++17", "-O3", "-fopenmp-simd", "-fno-trapping-math"),
    *("-shared", "-fPIC", "-fvisibility=hidden"),
)
COMPILERS = ("c++", "g++", "clang++")
COMPILE_LIMIT_S = 600


class BuildError(RuntimeError):
    """The library could not be made; one line says why."""


class LoadError(BuildError):
    """The library was made and does not load."""


@dataclass(frozen=True)
class Target:
    """An instruction set: what Linux calls its parts, and what the compiler does.

    priority: of the implementations that use it, as the registry counts.
    """

    name: str
    priority: int
    cpu_flags: frozenset[str]
    compiler_flags: tuple[str, ...]

    @property
    def multiplies_bfloat16(self) -> bool:
        """Else products are made in float32, of numbers widened."""
        return "avx512_bf16" in self.cpu_flags


AVX2 = Target("avx2", 100, frozenset({"avx2", "fma", "f16c"}), ("-mavx2", "-mfma", "-mf16c"))
AVX512 = Target(
    "avx512-bf16",
    110,
    frozenset(
        {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512_bf16", "avx512_vnni"}
    ),
    (
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vbmi"),
        *("-mavx512bf16", "-mavx512vnni"),
    ),
)
AMX = Target(
    "amx",
    120,
    AVX512.cpu_flags | {"amx_tile", "amx_bf16"},
    (*AVX512.compiler_flags, "-mamx-tile", "-mamx-bf16"),
)
# What the compiler makes of the same sources for any processor of its architecture.
GENERIC = Target("generic", 90, frozenset(), ())
TARGETS = (AMX, AVX512, AVX2, GENERIC)
# Those that read weights in one order, together: what multiplies bfloat16, and what widens it.
ORDERS = (
    tuple(target for target in TARGETS if target.multiplies_bfloat16),
    tuple(target for target in TARGETS if not target.multiplies_bfloat16),
)


def build(target: Target, compiler: tuple[str, ...], directory: Path) -> Path:
    """The library for `target` in `directory`, compiled unless it is there already.

    Its name holds a digest of all that it is made from. Processes may build it at the same time:
    each compiles its own, which is logged, and puts it in place whole. Raises BuildError, or
    OSError where the directory cannot be written.
    """
    path = directory / f"kernels-{target.name}-{digest(target, compiler)}.so"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        made = Path(scratch) / path.name
        log.info("compiling the CPU kernels for %s, once, into %s", target.name, directory)
        command = _command(target, compiler)
        _run([*command, str(SOURCES / "kernels.cpp"), "-o", str(made)])
        made.replace(path)
    return path


def digest(target: Target, compiler: tuple[str, ...]) -> str:
    """Sixteen hex digits that change with whatever a library is made from: sources, flags, the
    compiler and its version, the architecture. Raises BuildError where the compiler does not run.
    """
    sources = sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")])
    parts = [path.read_bytes() for path in sources]
    # A home directory may be shared by machines of several architectures.
    named = f"{shlex.join(_command(target, compiler))} {platform.machine()}".encode()
    return sha256(b"\0".join([*parts, named, _version(compiler)])).hexdigest()[:16]


def find_compiler() -> tuple[str, ...]:
    """$CXX, which may hold options, or else the first C++ compiler on the path.

    Raises BuildError where there is none.
    """
    if chosen := os.environ.get("CXX"):
        return tuple(shlex.split(chosen))
    for name in COMPILERS:
        if path := shutil.which(name):
            return (path,)
    raise BuildError(
        f"no C++ compiler ({', '.join(COMPILERS)}) on the path; install one "
        "(apt-get install g++, dnf install gcc-c++) or set CXX"
    )


def cache_directory() -> Path:
    """Beside fetched models: $LLMBENCH_CACHE, or ~/.cache/llmbench."""
    return Path(os.environ.get("LLMBENCH_CACHE") or "~/.cache/llmbench").expanduser() / "kernels"


def _command(target: Target, compiler: tuple[str, ...]) -> tuple[str, ...]:
    return (*compiler, *FLAGS, *target.compiler_flags)


def _version(compiler: tuple[str, ...]) -> bytes:
    return _run([*compiler, "--version"])


def _run(command: Sequence[str]) -> bytes:
    try:
        run = subprocess.run(command, capture_output=True, check=False, timeout=COMPILE_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} did not run: {error}") from error
    if run.returncode:
        lines = run.stderr.decode(errors="replace").splitlines()
        first = next((line for line in lines if "error" in line), lines[0] if lines else "")
        raise BuildError(f"{command[0]} failed with {run.returncode}: {first}")
    return run.stdout
