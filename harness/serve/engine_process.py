"""The engine in a process of its own: nothing that serves HTTP ever makes its next step wait.

In one process the two would share Python's lock, and a step of a small model would take as long
again as its tokens take to be written. vLLM parts them for the same reason (vLLM V1, 2025).
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import NamedTuple, cast

from ...engines.api import Request
from ...engines.clock import WallClock
from ..config import RunConfig
from . import wire
from .cores import keep_to
from .engine_loop import Abort, Command, EngineLoop, Submit
from .load_engine import Loaded, Report, load_engine
from .worker import EngineLostError, OnFailure, Receive

# An end that is asked for takes milliseconds.
_END_WITHIN_S = 5.0


class _Said(NamedTuple):
    text: str


class _Lost(NamedTuple):
    error: Exception


class EngineProcess:
    """A worker that is a process. Made by `start_engine`, which has heard that it can serve."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self._process = process
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: Exception | None = None

    @property
    def alive(self) -> bool:
        return self.failure is None and not self._connection.closed

    def start(
        self, loop: asyncio.AbstractEventLoop, receive: Receive, on_failure: OnFailure
    ) -> None:
        self._loop, self._receive, self._on_failure = loop, receive, on_failure
        loop.add_reader(self._connection.fileno(), self._hear)

    def submit(self, requests: Sequence[Request]) -> None:
        self._send(Submit(requests))

    def abort(self, request_ids: Sequence[str]) -> None:
        self._send(Abort(request_ids))

    def stop(self) -> None:
        """The process ends at once, in whatever step: whoever stops wants no more of its tokens."""
        if self._connection.closed:
            return
        self._stop_hearing()
        self._connection.close()
        end(self._process)

    def _send(self, command: Command) -> None:
        # Of an engine that is lost, `_hear` is told as well, and it knows how.
        with suppress(OSError):
            wire.put(self._connection, command)

    def _hear(self) -> None:
        try:
            message = wire.get(self._connection)
        except (EOFError, OSError):
            message = _Lost(EngineLostError(_how_it_ended(self._process)))
        if isinstance(message, _Lost):
            self._stop_hearing()
            self.failure = message.error
            self._on_failure(message.error)
        else:
            self._receive(message)

    def _stop_hearing(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._connection.fileno())
            self._loop = None


def start_engine(
    run: RunConfig, clock: WallClock, report: Report, *, own_cores: bool = False
) -> tuple[EngineProcess, Loaded]:
    """Start a process, and wait until its engine is loaded and warm.

    clock: that the engine's times are by. report: told of the loading. own_cores: as `load_engine`
    has it. Raises what loading raised.
    """
    ours, theirs = cast("tuple[Connection, Connection]", multiprocessing.Pipe())
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=_serve, args=(run, clock.origin_s, own_cores, theirs), name="engine"
    )
    process.start()
    theirs.close()
    try:
        while isinstance(message := wire.get(ours), _Said):
            report(message.text)
    except BaseException as error:
        ours.close()
        end(process)
        if isinstance(error, EOFError):
            raise EngineLostError(_how_it_ended(process)) from error
        raise
    if isinstance(message, _Lost):
        ours.close()
        end(process)
        raise message.error
    return EngineProcess(process, ours), message


def end(process: BaseProcess) -> None:
    """Of a process whose pipe is closed: it ends itself, unless something holds it up."""
    process.join(_END_WITHIN_S)
    process.kill()
    process.join()


def _how_it_ended(process: BaseProcess) -> str:
    process.join(_END_WITHIN_S)
    code = process.exitcode
    if code is None:
        return "its process says nothing any more"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


# From here on: the engine's process.
def _serve(run: RunConfig, origin_s: float, own_cores: bool, parent: Connection) -> None:
    # They reach every process of a terminal or a service; the parent has a grace time to keep.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    inbox: SimpleQueue[Command] = SimpleQueue()
    listener = threading.Thread(target=_listen, args=(parent, inbox), daemon=True)
    listener.start()
    try:
        clock = WallClock(origin_s)
        engine, loaded = load_engine(
            run, clock, lambda text: wire.put(parent, _Said(text)), own_cores=own_cores
        )
        if loaded.cores is not None and listener.native_id is not None:
            keep_to(loaded.cores.rest, listener.native_id)
        # What was loaded stays; a collection that looked through it would hold up a step.
        gc.collect()
        gc.freeze()
        wire.put(parent, loaded)
        EngineLoop(engine, clock, inbox, lambda told: wire.put(parent, told)).run()
    except BaseException as error:  # noqa: BLE001 (every stream must hear of it, whatever it is)
        with suppress(OSError):
            wire.put(parent, _Lost(portable(error)))


def _listen(parent: Connection, inbox: SimpleQueue[Command]) -> None:
    """Until the parent is gone or has no more use for this process."""
    with suppress(EOFError, OSError):
        while True:
            inbox.put(wire.get(parent))
    # Whatever the engine's thread is in the middle of: there is nobody to tell.
    os._exit(0)


def portable(error: BaseException) -> Exception:
    """The same, if another process can read it; else what it says. Has the traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, Exception):
        with suppress(Exception):
            return pickle.loads(pickle.dumps(error))
    return lost(error)


def lost(error: BaseException) -> EngineLostError:
    """What another process, or no handler of exceptions, can take: it as text."""
    made = EngineLostError(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made
