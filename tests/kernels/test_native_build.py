"""From source to library: what is kept, what is reported, and what is chosen when it fails."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from llmbench.kernels.native import build as native
from llmbench.kernels.native import library
from llmbench.kernels.native.elementwise import NativeSiluMul
from llmbench.kernels.native.linear import NativeLinear
from llmbench.kernels.native.row_major_linear import NativeRowMajorLinear
from llmbench.kernels.reference.activation import silu_mul as reference_silu_mul
from llmbench.kernels.registry import implementations, select

from .closeness import assert_near

CPU = torch.device("cpu")


def a_compiler() -> tuple[str, ...]:
    try:
        return native.find_compiler()
    except native.BuildError as error:
        pytest.skip(str(error))


def a_target() -> native.Target:
    """What this machine's compiler surely knows."""
    if not native.AVX2.cpu_flags <= library.cpu_flags():
        pytest.skip("no AVX2")
    return native.AVX2


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said besides that something is compiled, which a command's tests let through."""
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.fixture(autouse=True)
def not_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the time to compile: what is computed, others test."""
    flags = tuple("-O0" if flag == "-O3" else flag for flag in native.FLAGS)
    assert flags != native.FLAGS
    monkeypatch.setattr(native, "FLAGS", flags)


@pytest.fixture
def small_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources that compile at once, with every function and nothing in it: for what is kept and
    chosen, and not what is computed. Returns their folder."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "usable.h").write_text("#define USABLE 1\n")
    visible = 'extern "C" __attribute__((visibility("default")))'
    functions = [f"{visible} void llmbench_{name}() {{}}\n" for name in library._ARGUMENTS]
    (folder / "kernels.cpp").write_text(
        '#include "usable.h"\n'
        f"{visible} int llmbench_usable() {{ return USABLE; }}\n" + "".join(functions)
    )
    monkeypatch.setattr(native, "SOURCES", folder)
    return folder


@pytest.fixture
def nothing_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache directory, and none of what this process knows of libraries; as was after."""

    def forget() -> None:
        library.find_library.cache_clear()
        library._warned = False
        library._failures.clear()
        for op in ("linear", "silu_mul"):
            for one in implementations(op):
                if isinstance(one.function, NativeLinear | NativeRowMajorLinear | NativeSiluMul):
                    for kept in ("_found", "library"):
                        vars(one.function.native).pop(kept, None)

    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    forget()
    yield
    monkeypatch.undo()
    forget()


def fake_compiler(folder: Path, complaint: str) -> Path:
    """Knows its version, and fails at anything else."""
    path = folder / "fake-c++"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo fake 1.0\necho "{complaint}" >&2\nexit 1\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("small_source")
def test_a_library_is_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target, compiler, cache = a_target(), a_compiler(), tmp_path / "cache"
    caplog.set_level(logging.INFO)
    path = native.build(target, compiler, cache)
    assert caplog.messages == [f"compiling the CPU kernels for avx2, once, into {cache}"]
    assert [entry.name for entry in cache.iterdir()] == [path.name]
    assert ctypes.CDLL(str(path)).llmbench_usable() == 1

    def no_compiling(command: list[str]) -> bytes:
        assert command[-1] == "--version"
        return subprocess.run(command, capture_output=True, check=True).stdout

    monkeypatch.setattr(native, "_run", no_compiling)
    assert native.build(target, compiler, cache) == path


def test_another_source_or_flag_is_another_library(tmp_path: Path, small_source: Path) -> None:
    target, compiler = a_target(), a_compiler()
    first = native.build(target, compiler, tmp_path)
    with_flag = native.build(target, (*compiler, "-g0"), tmp_path)
    header = small_source / "usable.h"
    header.write_text(header.read_text() + "\n// another\n")
    assert len({first, with_flag, native.build(target, compiler, tmp_path)}) == 3


def test_processes_may_build_at_the_same_time(tmp_path: Path, small_source: Path) -> None:
    """Each is still at it when the other begins."""
    a_target()
    compiler = a_compiler()
    cache = tmp_path / "cache"
    cache.mkdir()
    slow = tmp_path / "slow-c++"
    slow.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {shlex.join(compiler)} --version\n'
        f"touch {tmp_path}/begun.$$\n"
        f"while [ $(ls {tmp_path}/begun.* | wc -l) -lt 2 ]; do sleep 0.05; done\n"
        f'exec {shlex.join(compiler)} "$@"\n'
    )
    slow.chmod(0o755)
    script = (
        "import sys, pathlib\n"
        "from llmbench.kernels.native import build as native\n"
        "import ctypes\n"
        "native.SOURCES = pathlib.Path(sys.argv[1])\n"
        "path = native.build(native.AVX2, native.find_compiler(), pathlib.Path(sys.argv[2]))\n"
        "print(path, ctypes.CDLL(str(path)).llmbench_usable())\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(small_source), str(cache)],
            env={**os.environ, "CXX": str(slow)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    (library,) = cache.iterdir()
    assert said == [[str(library), "1"]] * 2


@pytest.mark.usefixtures("nothing_remembered")
def test_a_failing_compiler_is_reported_once_and_pytorch_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_target()
    compiler = fake_compiler(tmp_path, "x.cpp:1:2: error: no such thing")
    monkeypatch.setenv("CXX", str(compiler))
    with caplog.at_level(logging.WARNING):
        assert select("linear", CPU, torch.bfloat16).name == "torch"
        assert select("linear", CPU, torch.bfloat16).name == "torch"
    (message,) = caplog.messages
    assert f"{compiler} failed with 1: x.cpp:1:2: error: no such thing" in message
    assert "computes the same, but slower" in message
    assert list((tmp_path / "cache" / "kernels").iterdir()) == []


@pytest.mark.usefixtures("nothing_remembered")
def test_without_a_compiler_pytorch_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_target()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert select("linear", CPU, torch.bfloat16).name == "torch"
    (message,) = caplog.messages
    assert "no C++ compiler (c++, g++, clang++) on the path; install one" in message
    assert "apt-get install g++" in message


@pytest.mark.usefixtures("nothing_remembered")
def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_target()
    a_compiler()
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert select("linear", CPU, torch.bfloat16).name == "torch"
    (message,) = caplog.messages
    assert "Not a directory" in message


@pytest.mark.usefixtures("small_source", "nothing_remembered")
def test_a_library_that_does_not_load_is_compiled_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name stood for it for ever, and every run after was slow."""
    a_compiler()
    cache = tmp_path / "cache" / "kernels"
    path = native.build(a_target(), a_compiler(), cache)
    path.write_bytes(path.read_bytes()[:100])
    assert library.find_library(a_target()) is not None
    assert warnings_of(caplog) == []
    assert [entry.name for entry in cache.iterdir()] == [path.name]


@pytest.mark.usefixtures("nothing_remembered")
def test_what_no_machine_could_load_is_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_target()
    compiler = tmp_path / "any-c++"
    compiler.write_text('#!/bin/sh\nfor last; do :; done\necho nothing | tee "$last"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert library.find_library(native.AVX2) is None
    (message,) = warnings_of(caplog)
    assert message.startswith("native CPU kernels for 'avx2' could not be loaded: ")


@pytest.mark.usefixtures("small_source")
def test_another_architecture_is_another_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of GENERIC nothing else told them apart in a home directory that both share."""
    compiler = a_compiler()
    first = native.build(native.GENERIC, compiler, tmp_path)
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert native.build(native.GENERIC, compiler, tmp_path) != first


@pytest.mark.usefixtures("small_source", "nothing_remembered")
@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (frozenset(), "native-generic"),
        (frozenset({"sse2", "avx"}), "native-generic"),
        (native.AVX2.cpu_flags, "native-avx2"),
    ],
    ids=["not x86", "an old processor", "AVX2"],
)
def test_the_processor_chooses_the_instructions(
    flags: frozenset[str], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a_target()
    a_compiler()
    monkeypatch.setattr(library, "cpu_flags", lambda: flags)
    assert select("linear", CPU, torch.bfloat16).name == name
    # What would be asked next is not compiled before it is.
    (built,) = (tmp_path / "cache" / "kernels").iterdir()
    assert built.name.startswith(f"kernels-{name.removeprefix('native-')}-")


@pytest.mark.usefixtures("nothing_remembered")
def test_what_is_chosen_after_another_is_compiled_when_it_is_used(tmp_path: Path) -> None:
    a_target()
    a_compiler()
    forced = select("silu_mul", CPU, torch.bfloat16, {"silu_mul": "native-generic"})
    gate_up = torch.randn(5, 66).bfloat16()
    assert_near(forced.function(gate_up), reference_silu_mul(gate_up))
    built = {path.name.rsplit("-", 1)[0] for path in (tmp_path / "cache" / "kernels").iterdir()}
    assert "kernels-generic" in built


@pytest.mark.usefixtures("nothing_remembered")
def test_where_the_kernels_cannot_run_nothing_is_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an OpenMP runtime to take threads from."""
    monkeypatch.setattr(library, "openmp_parallel", lambda: None)
    monkeypatch.setattr(library, "find_compiler", lambda: pytest.fail("looked for a compiler"))
    assert select("linear", CPU, torch.bfloat16).name == "torch"
    assert caplog.messages == []


@pytest.mark.usefixtures("nothing_remembered")
def test_without_avx2_the_scalar_target_is_chosen_and_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_compiler()
    monkeypatch.setattr(library, "cpu_flags", lambda: frozenset({"sse2", "avx"}))
    chosen = select("silu_mul", CPU, torch.bfloat16)
    assert chosen.name == "native-generic"
    gate_up = torch.randn(5, 66).bfloat16()
    assert_near(chosen.function(gate_up), reference_silu_mul(gate_up))
    assert "has no avx2, f16c, fma" in str(library.load(native.AVX2))


def test_the_scalar_target_asks_for_no_instructions() -> None:
    assert native.GENERIC.compiler_flags == ()
    assert native.GENERIC.cpu_flags == frozenset()
    assert max(native.TARGETS, key=lambda target: -target.priority) is native.GENERIC


def test_the_threads_are_those_of_pytorch() -> None:
    """One OpenMP runtime in the process, before and after the library is loaded."""
    if library.find_library(a_target()) is None:
        pytest.skip("no library")
    maps = Path("/proc/self/maps").read_text().splitlines()
    runtimes = {line.split()[-1] for line in maps if "libgomp" in line or "libiomp" in line}
    assert len(runtimes) == 1


def test_two_libraries_in_a_process_do_not_mix() -> None:
    """Each has tables of the same names, of other lengths: loaded first the shorter, then both."""
    script = (
        "import torch\n"
        "from llmbench.kernels.registry import implementations\n"
        "cpu, dtype = torch.device('cpu'), torch.bfloat16\n"
        "x, weight = torch.randn(40, 64).to(dtype), torch.randn(64, 64).to(dtype)\n"
        "for one in reversed(implementations('linear')):\n"
        "    if one.when(cpu, dtype):\n"
        "        y, exact = one.function(weight, None, dtype)(x), x.float() @ weight.float().T\n"
        "        torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.05)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
