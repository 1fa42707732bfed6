"""llama.cpp: its own server, and its own files made from the model's directory.

GGUF files are made by llama.cpp's converter and `llama-quantize` from the very weights that the
others serve. Settings: as many slots as requests may run, each with its share of one KV cache;
weights repacked for the CPU (the default); flash attention left to the program; threads on their
cores; no prompt is looked up in a cache; one sampler, which is greedy.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from ..client.config import Url
from ..client.direct_http import fetch
from ..client.servers import SERVERS
from .base import PeerError, ServedModel, Started, Variant
from .client import complete
from .figures import RequestTimes
from .process import child, log_tail
from .workload import MAX_MODEL_LEN, MAX_NUM_SEQS, Job

NAME = "llama.cpp"
WEIGHTS = {"BF16": "bf16", "Q8_0": "int8", "Q4_0": "int4", "Q4_1": "int4"}
"""Formats of its files and their precision. Q4_0 has no offset and the faster kernels; Q4_1 has the
offset that AWQ has."""
START_WITHIN_S = 60.0
_PROGRAMS = ("llama-server", "llama-quantize")
# The default chain of samplers sorts and filters before it is told to be greedy; to keep the
# likeliest token is the shortest way.
_EXTRA = {"samplers": ["top_k"], "top_k": 1}


@dataclass(frozen=True)
class LlamaCpp:
    """directory: a source tree with its programs in build/bin. converter_path: where Python finds
    what the converter needs and this environment lacks (sentencepiece)."""

    directory: Path
    converter_path: Path
    cores: tuple[int, ...]
    name: str = NAME

    def variants(self) -> tuple[Variant, ...]:
        return tuple(Variant(NAME, precision, weights) for weights, precision in WEIGHTS.items())

    def missing(self) -> str | None:
        for program in _PROGRAMS:
            if not self._program(program).is_file():
                return f"no {program} in build/bin of the llama.cpp directory"
        return None

    @contextmanager
    def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[LlamaServer]:
        file = self._gguf(variant.weights, model)
        address = Url("127.0.0.1", _free_port())
        command = self._command(file, address)
        with child(command, log, env=self._env(), cores=self.cores) as process:
            _wait_until_healthy(address, process, log)
            # Host and port, the last four words, are nobody's business.
            shown = shlex.join([Path(command[0]).name, "-m", file.name, *command[3:-4]])
            version = {"llama.cpp": self._version()}
            settings = f"{variant.weights}, KV in f16, {MAX_NUM_SEQS} slots"
            yield LlamaServer(address, Started(version, settings, shown))

    def _command(self, file: Path, address: Url) -> list[str]:
        threads = str(len(self.cores))
        return [
            str(self._program("llama-server")),
            "-m",
            str(file),
            *("-t", threads, "-tb", threads, "-np", str(MAX_NUM_SEQS)),
            *("-c", str(MAX_NUM_SEQS * MAX_MODEL_LEN), "-b", "2048", "-ub", "512"),
            *("-ctk", "f16", "-ctv", "f16", "--no-webui", "--offline"),
            *("--host", address.host, "--port", str(address.port)),
        ]

    def _env(self) -> dict[str, str]:
        return {"OMP_NUM_THREADS": str(len(self.cores))}

    def _program(self, name: str) -> Path:
        return self.directory / "build" / "bin" / name

    def _version(self) -> str:
        """The number of its build: llama.cpp has no other version."""
        done = subprocess.run(
            [self._program("llama-server"), "--version"],
            capture_output=True,
            text=True,
            check=False,
        )
        return parse_version(done.stdout + done.stderr)

    def _gguf(self, weights: str, model: ServedModel) -> Path:
        """The model as a file of these weights, made once."""
        file = model.made(f"{weights}.gguf")
        if file.is_file():
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        making = file.with_suffix(".part")
        if weights == "BF16":
            converter = str(self.directory / "convert_hf_to_gguf.py")
            options = ("--outtype", "bf16", "--outfile", str(making))
            command = [sys.executable, converter, str(model.directory), *options]
        else:
            source = self._gguf("BF16", model)
            threads = str(len(self.cores))
            program = str(self._program("llama-quantize"))
            command = [program, str(source), str(making), weights, threads]
        log = file.with_suffix(".log")
        with child(command, log, env={"PYTHONPATH": str(self.converter_path)}) as process:
            if process.wait() or not making.is_file():
                raise PeerError(f"making {file.name} failed: {log_tail(log)}")
        return making.replace(file)


class LlamaServer:
    """A server that is up: see `Serving`."""

    def __init__(self, address: Url, started: Started) -> None:
        self._address = address
        self._started = started

    @property
    def started(self) -> Started:
        return self._started

    def run(self, job: Job) -> tuple[RequestTimes, ...]:
        return complete(self._address, job, SERVERS[NAME], _EXTRA)


def parse_version(text: str) -> str:
    """The build number in what `--version` prints, as its releases are named: b11434."""
    found = re.search(r"\(build (\d+)", text) or re.search(r"version: (\d+) ", text)
    return f"b{found[1]}" if found else "unknown"


def _wait_until_healthy(address: Url, process: subprocess.Popen[str], log: Path) -> None:
    """Until the model is loaded. Raises PeerError if the server ends or takes too long."""
    deadline_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise PeerError(f"llama-server ended: {log_tail(log)}")
        if _is_healthy(address):
            return
        time.sleep(0.1)
    raise PeerError(f"llama-server was not ready in {START_WITHIN_S:.0f} s: {log_tail(log)}")


def _is_healthy(address: Url) -> bool:
    try:
        return fetch(f"{address}/health", timeout_s=5).status == HTTPStatus.OK  # 503: it loads
    except (OSError, HTTPException):
        return False  # not listening yet


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
