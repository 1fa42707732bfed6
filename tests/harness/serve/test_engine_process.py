"""An engine in a process of its own: what is said of its end, and of a start that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from llmbench.engines.errors import ConfigError, MissingError, OutOfMemory
from llmbench.harness.cli.exits import Exit
from llmbench.harness.errors import StoreError
from llmbench.harness.serve.cores import part, physical_core, usable_cores
from llmbench.harness.serve.engine_process import portable
from llmbench.harness.serve.worker import EngineLostError

WAIT_S = 60.0
COMMAND = [sys.executable, "-c", "from llmbench.harness.cli import main; main()", "serve"]
OPTIONS = ["--port", "0", "--quiet", "--kv-memory", "16MiB", "--grace", "20"]
ASKED = {"prompt": "The", "max_tokens": 1000, "ignore_eos": True, "stream": True}


class Running:
    """A server as its command starts it. address: where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().partition("  ")[0]

    @property
    def engine(self) -> psutil.Process:
        (child,) = [
            one
            for one in psutil.Process(self.process.pid).children()
            if "resource_tracker" not in " ".join(one.cmdline())
        ]
        return child

    def stream(self) -> Iterator[bytes]:
        """The lines of a reply that takes a while, the first of them read."""
        body = json.dumps(ASKED).encode()
        response = urllib.request.urlopen(f"{self.address}/v1/completions", body, timeout=WAIT_S)
        lines = iter(response)
        assert b"text" in next(lines)
        return lines


@contextmanager
def running(*more: str) -> Iterator[Running]:
    command = [*COMMAND, *OPTIONS, *more]
    # A session of its own: a signal to it must not reach this process.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_an_engine_that_is_killed_ends_its_replies_and_the_server() -> None:
    with running() as server:
        lines = server.stream()
        server.engine.kill()
        events = [line for line in lines if line.startswith(b"data:")]
        said = json.loads(events[-1].removeprefix(b"data: "))["error"]["message"]
        assert said == "the engine failed: its process was ended by SIGKILL"
        _, message = server.process.communicate(timeout=WAIT_S)
        assert server.process.returncode == Exit.BUG
        assert message.strip() == "error: the engine failed: its process was ended by SIGKILL"


def _core_sets(process: psutil.Process) -> list[set[int]]:
    """What each of its threads keeps to, its main thread's first."""
    ids = sorted(one.id for one in process.threads())
    return [os.sched_getaffinity(one) for one in ids]


@pytest.mark.skipif(
    part(usable_cores(), 1, physical_core) is None, reason="one core cannot be parted"
)
def test_an_engine_has_as_many_cores_to_itself_as_it_has_threads() -> None:
    usable = os.sched_getaffinity(0)
    parted = part(usable, 1, physical_core)
    assert parted is not None
    with running("--threads", "1", "--own-cores") as server:
        engine, *others = _core_sets(server.engine)
        assert engine == set(parted.engine)
        # The thread that reads requests; there may be idle ones, of numpy's, that nobody keeps.
        assert set(parted.rest) in others
        serving, *_ = _core_sets(psutil.Process(server.process.pid))
        assert serving == set(parted.rest)
    with running("--threads", "1") as server:
        assert all(cores == usable for cores in _core_sets(server.engine))


def test_a_signal_to_all_of_a_service_leaves_replies_their_grace_time() -> None:
    with running() as server:
        lines = server.stream()
        os.killpg(server.process.pid, signal.SIGTERM)
        *_, last = [line for line in lines if line.strip()]
        assert last.strip() == b"data: [DONE]"
        assert server.process.wait(WAIT_S) == Exit.OK


def test_a_second_ctrl_c_ends_replies_at_once_with_an_error_of_their_own() -> None:
    """Known wrong here: half an event for the client, and tracebacks in the terminal."""
    with running() as server:
        lines = server.stream()
        os.killpg(server.process.pid, signal.SIGINT)
        time.sleep(0.2)
        os.killpg(server.process.pid, signal.SIGINT)
        *_, last = [line for line in lines if line.strip()]
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["message"] == "the server is shutting down"
        _, said = server.process.communicate(timeout=WAIT_S)
        assert server.process.returncode == Exit.OK
        assert said == ""


def test_an_engine_does_not_outlive_its_server() -> None:
    with running() as server:
        engine = server.engine
        server.process.kill()
        engine.wait(WAIT_S)


def test_what_is_wrong_with_the_engine_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *OPTIONS, "--model", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.USAGE
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: model: ")


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("port", 7, "a port that is free", " (did you mean 8?)"),
        MissingError("slo", "limits"),
        StoreError("out", "somewhere", "is full"),
        OutOfMemory("for weights", "cuda:0", "kv_memory"),
        RuntimeError("the device is on fire"),
    ],
)
def test_errors_reach_the_server_as_they_are(error: Exception) -> None:
    there = portable(error)
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert {**vars(there), "__notes__": []} == {**vars(error), "__notes__": []}


def test_an_error_that_cannot_be_sent_is_sent_as_text() -> None:
    class _Here(Exception):  # noqa: N818
        """Known to this process alone."""

    try:
        raise _Here("at\nonce")
    except _Here as error:
        there = portable(error)
    assert isinstance(there, EngineLostError)
    assert str(there) == "_Here: at\nonce"
    (note,) = there.__notes__
    assert "test_an_error_that_cannot_be_sent" in note
