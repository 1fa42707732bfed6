"""The host's end of a side: starts its process, asks it, and says how busy it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import psutil

from ...engines.errors import ConfigError
from ..errors import InvalidRun
from .protocol import PROTOCOL, Prepared, Trial, decode, encode

_MODULE = "llmbench.harness.ab.worker"
_ROOMS = ("engines", "harness", "kernels", "reports", "workloads")


class Side(Protocol):
    """What a comparison asks of a side."""

    prepared: Prepared

    def trial(self, seed: int, num_requests: int) -> Trial: ...

    def cpu_s(self) -> float:
        """Processor time that the side has used so far."""
        ...


@dataclass(frozen=True)
class SideOptions:
    """field: what errors call it. options: words of `llmbench run`. tree: a source tree to import
    llmbench from; None: the one that is running."""

    field: str
    options: Sequence[str]
    tree: Path | None = None


class WorkerSide:
    """A side in a process of its own. A context manager: the process ends with it."""

    def __init__(self, asked: SideOptions) -> None:
        self._asked = asked
        self._link = tempfile.TemporaryDirectory(prefix="llmbench-ab-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the side is
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(asked.tree, Path(self._link.name)),
        )
        try:
            reply = self._ask(
                op="prepare", protocol=PROTOCOL, options=list(asked.options), field=asked.field
            )
            self.prepared = Prepared(
                reply["label"], reply["version"], reply["num_requests"], reply["config"]
            )
        except BaseException:
            self.close()
            raise

    def trial(self, seed: int, num_requests: int) -> Trial:
        """Raises InvalidRun for a trial that proves nothing, or a side that died."""
        reply = self._ask(op="trial", seed=seed, num_requests=num_requests)
        return Trial(reply["fingerprint"], reply["duration_s"], reply["values"])

    def cpu_s(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End the process: by the end of its input, or, if it does not listen, by a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended before
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._link.cleanup()

    def __enter__(self) -> WorkerSide:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, **message: Any) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        reply = decode(line)
        if reply["ok"]:
            return reply
        if reply["kind"] == "usage":
            raise _RefusedError(self._asked.field, reply["error"])
        raise InvalidRun(f"{self._asked.field}: {reply['error']}")

    def _died(self) -> Exception:
        """What the process said last, in a line."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else f"exit code {self._process.wait()}"
        return InvalidRun(f"{self._asked.field}: its process ended: {said}")


class _RefusedError(ConfigError):
    """A side's own error, as it said it."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(field, said, "")
        self.args = (said if said.startswith(field) else f"{field}: {said}",)


def _environment(tree: Path | None, link: Path) -> dict[str, str]:
    """The worker's. A tree is put in front of whatever llmbench is installed: its rooms are found
    through a link, for the folder of a checkout may have any name."""
    environment = dict(os.environ)
    if tree is None:
        # As the host imports it, be it installed or not.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return environment
    missing = [room for room in _ROOMS if not (tree / room / "__init__.py").is_file()]
    if missing:
        raise ConfigError("tree", str(tree), f"a source tree of llmbench; it has no {missing[0]}")
    # What a tree lacks would be taken from the llmbench that is installed.
    if not (tree / "harness" / "ab" / "worker.py").is_file():
        raise ConfigError("tree", str(tree), "a tree that has `llmbench ab` itself")
    (link / "llmbench").symlink_to(tree.resolve(), target_is_directory=True)
    given = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(link), *([given] if given else [])])
    return environment


@contextmanager
def both(a: SideOptions, b: SideOptions) -> Iterator[tuple[WorkerSide, WorkerSide]]:
    """The two sides, loaded and warm."""
    with WorkerSide(a) as first, WorkerSide(b) as second:
        check_kv_memory((a, b), (first.prepared, second.prepared))
        yield first, second


def check_kv_memory(asked: Sequence[SideOptions], found: Sequence[Prepared]) -> None:
    """Raises ConfigError where the sides have KV memory of two sizes that nobody asked for: on a
    GPU the default is a share of what is free, and the second side finds what the first has left.
    """
    first, second = (one.config.get("kv_memory_bytes") for one in found)
    given = [any(_is_kv_memory(word) for word in one.options) for one in asked]
    if first != second and not all(given):
        raise ConfigError(
            "kv_memory",
            f"{first} and {second} bytes",
            "--kv-memory in the options of both sides, for they are loaded side by side",
        )


def _is_kv_memory(word: str) -> bool:
    return word.partition("=")[0].replace("_", "-") == "--kv-memory"
