"""`llmbench serve`: from settings to a server that listens, and down again.

A signal closes the door first: no new connection is taken, requests in flight have a grace time to
end, and what is left is ended with an error in its stream.
"""

from __future__ import annotations

import asyncio
import math
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from ...engines.clock import Clock, WallClock
from ...engines.errors import ConfigError
from ...reports.format import size
from ..config import RunConfig
from ..machine.open_files import raise_open_files
from ..machine.port import bind, check_port, listen
from ..run.chat_template import has_chat_template, load_chat_template
from ..run.experiment import tokenizer_of
from .app import create_app
from .cores import check_own_cores, counted, keep_to
from .engine_process import start_engine
from .lives import Lives, Observer
from .load_engine import Loaded, Report
from .metrics import ServerMetrics
from .prompts import Prompts
from .request_log import RequestLog
from .service import Offer, Service
from .worker import Worker

_SHUTTING_DOWN = "the server is shutting down"
KEEP_ALIVE_S = 120
# After the grace time, for the last events to leave.
_FLUSH_S = 0.5


@dataclass(frozen=True)
class ServeConfig:
    """port: 0 for any that is free. grace_s: seconds that replies have to end after a signal.
    own_cores: the engine has as many to itself as it has threads, and the server the others."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_waiting: int | None = None
    grace_s: float = 10.0
    request_log: Path | None = None
    served_model_name: str | None = None
    own_cores: bool = False

    def __post_init__(self) -> None:
        check_port(self.port)
        if self.max_waiting is not None and self.max_waiting < 1:
            raise ConfigError("max_waiting", self.max_waiting, "1 or more")
        if not 0 <= self.grace_s < math.inf:
            raise ConfigError("grace", self.grace_s, "0 or more seconds, and finite")


def serve(run: RunConfig, config: ServeConfig, report: Report, ready: Report, warn: Report) -> None:
    """Serve until SIGTERM or Ctrl-C. report: told of the loading. ready: told one line when the
    server listens. warn: told of what goes wrong while it serves on.

    Raises ConfigError for what cannot work, the port included, before any weight is read, and what
    the engine raised if that ended it.
    """
    if config.own_cores:
        check_own_cores(run.threads)
    with bind(config.host, config.port) as listener:
        service, loaded = start_service(run, config, report, warn)
        try:
            if loaded.cores is not None:
                keep_to(loaded.cores.rest)
                report(
                    f"the engine has {counted(loaded.cores.engine)} to itself, "
                    f"this server keeps to {counted(loaded.cores.rest)}"
                )
            kv = f"{size(loaded.settings.kv_memory_bytes)} ({loaded.kv_tokens} tokens)"
            line = f"{url(listener)}  model {service.offer.name}, engine {run.label}, KV {kv}"
            run_server(service, listener, config.grace_s, lambda: ready(line))
        finally:
            service.stop()


def url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def start_service(
    run: RunConfig, config: ServeConfig, report: Report, warn: Report
) -> tuple[Service, Loaded]:
    """Start the engine and put the protocol over it."""
    clock, path = WallClock(), config.request_log
    log = [] if path is None else [RequestLog(path, clock, warn)]
    engine, loaded = start_engine(run, clock, report, own_cores=config.own_cores)
    try:
        files, settings = loaded.files, loaded.settings
        chats = has_chat_template(files.directory)
        render = load_chat_template(files.directory) if chats else None
        prompts = Prompts(tokenizer_of(files, settings), loaded.vocab_size, render)
        name = config.served_model_name or files.name
        offer = Offer(name, settings.max_model_len, settings.max_num_seqs, config.max_waiting)
        service = service_over(
            engine, clock, prompts, offer, observers=log, prefix_cache=settings.prefix_cache
        )
    except BaseException:
        engine.stop()
        raise
    return service, loaded


def service_over(
    worker: Worker,
    clock: Clock,
    prompts: Prompts,
    offer: Offer,
    *,
    observers: Sequence[Observer] = (),
    prefix_cache: bool = False,
) -> Service:
    """An engine behind the protocol. clock: the engine's. observers: told beside the metrics."""
    metrics = ServerMetrics(offer.name, prefix_cache=prefix_cache)
    return Service(offer, worker, Lives([metrics, *observers]), prompts, clock, metrics)


def run_server(
    service: Service, listener: socket.socket, grace_s: float, ready: Callable[[], None]
) -> None:
    """Serve on a bound socket until a signal or the engine's end; raises what ended the engine."""
    server = GracefulServer(service, grace_s, ready)
    # uvicorn raises the signals it caught once more when it is done.
    before = {number: signal.signal(number, _nothing) for number in _SIGNALS}
    try:
        server.run(sockets=[listener])  # on uvloop, where it is installed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if server.failure is not None:
        raise server.failure


class GracefulServer(uvicorn.Server):
    """uvicorn's, with a grace time after which replies end with an error of their own, or at once
    after a second signal.

    failure: what ended the engine, and the server with it.
    """

    def __init__(self, service: Service, grace_s: float, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            create_app(service, self._fail),
            http="httptools",
            ws="none",
            lifespan="on",
            # A client that sends seldom must not find its connection closed as it sends.
            timeout_keep_alive=KEEP_ALIVE_S,
            # A client that does not read its error event cannot keep the server from ending.
            timeout_graceful_shutdown=math.ceil(grace_s + _FLUSH_S),
            log_config=None,
            access_log=False,
        )
        super().__init__(config)
        self._service = service
        self._grace_s = grace_s
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: Exception | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """A second signal ends the grace time. uvicorn's own would end the loop under its tasks,
        and leave a client half an event and the terminal their tracebacks."""
        if self.should_exit and self._loop is not None:
            self._grace_s = 0.0  # where the first has not been acted on yet
            self._loop.call_soon_threadsafe(self._service.cut, _SHUTTING_DOWN)
        self.should_exit = True

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        raise_open_files()
        for one in sockets or ():
            # By itself: uvloop says nothing of one that cannot listen.
            listen(one)
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.close(_SHUTTING_DOWN)
        loop = asyncio.get_running_loop()
        cut = loop.call_later(self._grace_s, self._service.cut, _SHUTTING_DOWN)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _nothing(*_: object) -> None:
    pass
