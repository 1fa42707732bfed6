"""A pytest plugin: the kernels for AVX-512 run where the processor has AVX2 alone, emulated.

    make test-avx512

SIMDe computes each intrinsic with the vectors that there are: right, and many times as slow. The
sources are the kernels' own but for one instruction of assembly.
"""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from llmbench.kernels.native import build, library

INSTRUCTIONS = Path(__file__).with_suffix(".h")
SIMDE = Path("/usr/include/simde/x86/avx512.h")
ASSEMBLY = 'asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));'
INTRINSIC = "sums = _mm512_dpbusd_epi32(sums, a, b);"
COMPILER_FLAGS = ("-O2", *build.AVX2.compiler_flags, "-include", str(INSTRUCTIONS))


def pytest_configure() -> None:
    """Before implementations are asked where they run. Raises UsageError where nothing is to be
    emulated, or cannot be."""
    here = library.cpu_flags()
    if build.AVX512.cpu_flags <= here:
        raise pytest.UsageError("this processor has AVX-512-BF16: its kernels run in `make test`")
    if missing := build.AVX2.cpu_flags - here:
        raise pytest.UsageError(f"the processor has no {', '.join(sorted(missing))}")
    if not SIMDE.exists():
        raise pytest.UsageError(f"no {SIMDE}: apt-get install libsimde-dev")
    emulated, build_real = _build(), library.build

    def build_or_emulate(target: build.Target, compiler: tuple[str, ...], directory: Path) -> Path:
        if target == build.AVX512:
            return emulated
        return build_real(target, compiler, directory)

    flags = here | build.AVX512.cpu_flags
    library.cpu_flags = lambda: flags  # type: ignore[assignment]
    library.build = build_or_emulate


def _build() -> Path:
    """The library, once for the same sources; of several processes the last one's stays."""
    sources = sorted([*build.SOURCES.glob("*.cpp"), *build.SOURCES.glob("*.h")])
    made_from = b"\0".join(path.read_bytes() for path in (*sources, INSTRUCTIONS))
    directory = build.cache_directory()
    path = directory / f"kernels-emulated-{sha256(made_from).hexdigest()[:16]}.so"
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory) as scratch:
        found = 0
        for source in sources:
            text = source.read_text()
            found += text.count(ASSEMBLY)
            (Path(scratch) / source.name).write_text(text.replace(ASSEMBLY, INTRINSIC))
        if found != 1:
            raise pytest.UsageError(f"the kernels have {found} places with {ASSEMBLY!r}, not one")
        made = Path(scratch) / path.name
        command = [*build.find_compiler(), *build.FLAGS, *COMPILER_FLAGS]
        command += [str(Path(scratch) / "kernels.cpp"), "-o", str(made)]
        subprocess.run(command, check=True)
        made.replace(path)
    return path
