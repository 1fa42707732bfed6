"""The host's end of a side: starts its process, asks it, and says how busy it is."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

import psutil

from ...engines.errors import ConfigError
from ...kernels.threads import outside_environment
from ..errors import InvalidRun, StoreError
from .protocol import PROTOCOL, SideIdentity, Trial, decode, encode

_MODULE = "llmbench.harness.ab.worker"
_ROOMS = ("engines", "harness", "kernels", "reports", "workloads")
# A worker that is asked nothing ends as soon as its input does.
_END_WITHIN_S = 10.0


class InvalidTrial(InvalidRun):
    """One trial whose numbers prove nothing, of a side that can serve another."""


class Side(Protocol):
    """What a comparison asks of a side."""

    identity: SideIdentity

    def trial(self, seed: int, num_requests: int, limit_s: float) -> Trial:
        """Raises InvalidTrial for one that proves nothing, and InvalidRun for a side that is lost
        with it, because it took longer than limit_s for one."""
        ...

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
    """A side in a process of its own. A context manager: the process ends with it, and so does
    whatever that started, for it leads a process group. Ctrl-C of a terminal does not reach it."""

    def __init__(self, asked: SideOptions) -> None:
        self._asked = asked
        self._link = tempfile.TemporaryDirectory(prefix="llmbench-ab-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the side is
        self._heard = b""
        self._busy = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(asked, Path(self._link.name)),
            start_new_session=True,
        )
        try:
            reply = self._ask(
                None,
                op="prepare",
                protocol=PROTOCOL,
                options=list(asked.options),
                field=asked.field,
            )
            self.identity = SideIdentity(
                reply["label"], reply["version"], reply["num_requests"], reply["config"]
            )
        except BaseException:
            self.close()
            raise

    def trial(self, seed: int, num_requests: int, limit_s: float | None = None) -> Trial:
        """As `Side` says; limit_s None: for as long as it takes."""
        try:
            reply = self._ask(limit_s, op="trial", seed=seed, num_requests=num_requests)
        except TimeoutError:
            raise InvalidRun(
                f"{self._asked.field}: a trial of {num_requests} requests did not end within "
                f"{limit_s:.3g} s, and its process was killed: if trials may take so long, allow "
                "it with --trial-timeout"
            ) from None
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
        # Whoever still computes does not listen.
        self._end(0.0 if self._busy else _END_WITHIN_S)
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

    def _ask(self, limit_s: float | None, **message: Any) -> Mapping[str, Any]:
        """Raises TimeoutError after limit_s, and the process is gone then."""
        assert self._process.stdin is not None
        self._busy = True
        try:
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        try:
            line = self._line(limit_s)
        except TimeoutError:
            self._end(0.0)
            raise
        if not line:
            raise self._died()
        self._busy = False
        reply = decode(line)
        if reply["ok"]:
            return reply
        if reply["kind"] == "usage":
            raise _RefusedError(self._asked.field, reply["error"])
        kind = InvalidTrial if reply["kind"] == "invalid" else InvalidRun
        raise kind(f"{self._asked.field}: {reply['error']}")

    def _line(self, limit_s: float | None) -> bytes:
        """What it says next; empty if it has nothing more to say. Raises TimeoutError."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        end_s = None if limit_s is None else monotonic() + limit_s
        while b"\n" not in self._heard:
            if not wait([pipe], None if end_s is None else max(0.0, end_s - monotonic())):
                raise TimeoutError
            more = os.read(pipe, 1 << 16)
            if not more:
                return b""
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _end(self, patience_s: float) -> int:
        """Give it so long to end by itself; then nothing of its group is left. Returns its exit
        code."""
        if self._process.returncode is None:
            # Not yet waited for, so that the name of its group cannot become another's.
            _await_exit(self._process.pid, patience_s)
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _died(self) -> Exception:
        """What the process said last, in a line."""
        code = self._end(_END_WITHIN_S)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else f"exit code {code}"
        return InvalidRun(f"{self._asked.field}: its process ended: {said}")


def _await_exit(pid: int, patience_s: float) -> None:
    """Until a child has ended, or patience has; it stays to be waited for."""
    descriptor = os.pidfd_open(pid)
    try:
        select.select([descriptor], [], [], patience_s)
    finally:
        os.close(descriptor)


class _RefusedError(ConfigError):
    """A side's own error, as it said it."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(field, said, "")
        self.args = (said if said.startswith(field) else f"{field}: {said}",)


def _environment(asked: SideOptions, link: Path) -> dict[str, str]:
    """The worker's. A tree is put in front of whatever llmbench is installed: its rooms are found
    through a link, for the folder of a checkout may have any name."""
    environment = outside_environment()
    tree, field = asked.tree, f"{asked.field}_tree"
    if tree is None:
        # As the host imports it, be it installed or not.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return environment
    if not tree.is_dir():
        problem = "is no directory" if tree.exists() else "does not exist"
        raise StoreError(field, tree, f"{problem}; expected a source tree of llmbench")
    missing = [room for room in _ROOMS if not (tree / room / "__init__.py").is_file()]
    if missing:
        raise ConfigError(field, str(tree), f"a source tree of llmbench; it has no {missing[0]}")
    # What a tree lacks would be taken from the llmbench that is installed.
    if not (tree / "harness" / "ab" / "worker.py").is_file():
        raise ConfigError(field, str(tree), "a tree that has `llmbench ab` itself")
    (link / "llmbench").symlink_to(tree.resolve(), target_is_directory=True)
    given = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(link), *([given] if given else [])])
    return environment


@contextmanager
def both(a: SideOptions, b: SideOptions) -> Iterator[tuple[WorkerSide, WorkerSide]]:
    """The two sides, loaded and warm."""
    with WorkerSide(a) as first, WorkerSide(b) as second:
        check_kv_memory((a, b), (first.identity, second.identity))
        yield first, second


def check_kv_memory(asked: Sequence[SideOptions], found: Sequence[SideIdentity]) -> None:
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
