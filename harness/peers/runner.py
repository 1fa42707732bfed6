"""Our end of the pipe to a runner (`runners/`), an engine inside a Python of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .base import PeerError, Started
from .figures import RequestTimes
from .process import child, log_tail
from .workload import Job

_HERE = Path(__file__).resolve().parent


@contextmanager
def start_runner(
    python: Sequence[str | Path],
    settings: Mapping[str, Any],
    log: Path,
    *,
    env: Mapping[str, str],
    cores: Sequence[int],
) -> Iterator[Runner]:
    """A runner with its engine loaded. python: the interpreter and -m of the module. Raises
    PeerError if the engine does not load."""
    command = [*map(str, python), json.dumps(settings)]
    with child(command, log, env=env, cores=cores, pipes=True) as process:
        yield Runner(process, log, _shown(python, settings, env))


def outside_env() -> dict[str, str]:
    """Variables with which `python -m runners.NAME` finds the runners where this package is not
    installed."""
    return {"PYTHONPATH": str(_HERE)}


class Runner:
    """An engine at the other end of a pipe: see `Serving`."""

    def __init__(self, process: subprocess.Popen[str], log: Path, command: str) -> None:
        self._process = process
        self._log = log
        ready = self._read()["ready"]
        self._started = Started(ready["versions"], ready["settings"], command)

    @property
    def started(self) -> Started:
        return self._started

    def run(self, job: Job) -> tuple[RequestTimes, ...]:
        assert self._process.stdin is not None
        message = {"prompts": job.prompts, "output_tokens": job.output_tokens}
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"it ended: {log_tail(self._log)}") from None
        return tuple(
            RequestTimes(one["sent_s"], one["prompt_tokens"], tuple(one["token_times_s"]))
            for one in self._read()["requests"]
        )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"it ended: {log_tail(self._log)}")
        message = json.loads(line)
        if "error" in message:
            raise PeerError(message["error"])
        return message


def _shown(
    python: Sequence[str | Path], settings: Mapping[str, Any], env: Mapping[str, str]
) -> str:
    """The command as a shell would take it, programs and directories by their names alone."""
    program, *words = map(str, python)
    named = {key: _name(value) for key, value in settings.items()}
    variables = [f"{key}={_name(value)}" for key, value in env.items() if key != "PYTHONPATH"]
    return shlex.join([*variables, _name(program), *words, json.dumps(named)])


def _name(value: Any) -> Any:
    """The last part of an absolute path; anything else as it is."""
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value
