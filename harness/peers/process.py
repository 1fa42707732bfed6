"""A peer's process: started on the chosen cores, its output in a file, gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...kernels.threads import outside_environment
from .base import PeerError

STOP_AFTER_S = 10.0


@contextmanager
def child(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cores: Sequence[int] | None = None,
    pipes: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """The running process. env: beside the variables that this process was started with. cores:
    what it and its threads may run on; None leaves that alone. pipes: talk to it through standard
    input and output. Standard error, and output without pipes, go to `log`. Raises PeerError if it
    cannot start.

    It leads a process group of its own, and all of the group is ended: engines start others.
    """
    with log.open("w", encoding="utf-8") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                env={**outside_environment(), **(env or {})},
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise PeerError(f"{command[0]} cannot be started ({error.strerror})") from error
    try:
        if cores is not None:
            os.sched_setaffinity(process.pid, cores)
        yield process
    finally:
        _stop(process)


def log_tail(log: Path) -> str:
    """The last three lines of a log, as one."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return " / ".join(line.strip() for line in text.splitlines()[-3:] if line.strip())


def _stop(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # One that has ended reads nothing more of what is left in its pipe.
            with suppress(OSError):
                pipe.close()
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(STOP_AFTER_S)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # the whole group has ended by itself
