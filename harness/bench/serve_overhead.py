"""What the protocol costs: output tokens a second in process and over HTTP, of one engine's twin.

    python -m llmbench.harness.bench.serve_overhead --model bundled --streams 8 --streams 32

The two take turns, each over its own engine with the same weights; the client is a process of its
own that reads every byte and parses none. All of them share the machine's cores, as a server and
its benchmark on one machine do.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Annotated

import typer

from ...engines.api import Engine, Request, SamplingParams

PROMPT_TOKENS = 16


@dataclass(frozen=True)
class Load:
    """streams at once, each of as many output tokens."""

    streams: int
    output_tokens: int

    def rate(self, duration_s: float) -> float:
        """Output tokens a second."""
        return self.streams * self.output_tokens / duration_s

    def prompt(self, stream: int) -> list[int]:
        """No two begin alike, so that no prefix is shared."""
        return [(7 * stream + 3 * place) % 1000 + 10 for place in range(PROMPT_TOKENS)]


def in_process(engine: Engine, load: Load) -> float:
    """Seconds from handing all requests over to the last token."""
    sampling = SamplingParams(max_tokens=load.output_tokens, ignore_eos=True)
    start_s = time.perf_counter()
    for stream in range(load.streams):
        engine.add(Request(f"s{stream}", load.prompt(stream), sampling))
    while engine.has_work():
        engine.step()
    return time.perf_counter() - start_s


def over_http(address: str, load: Load) -> float:
    """The same from a client's process, from the first byte sent to the last one read."""
    command = [sys.executable, "-m", __spec__.name, "--drain", address]
    command += ["--streams", str(load.streams), "--tokens", str(load.output_tokens)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return float(done.stdout)


async def drain(address: str, load: Load) -> float:
    """Open all connections, send on all, read each to its end. Returns the seconds."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(load.streams)]
    start_s = time.perf_counter()
    for stream, (_, writer) in enumerate(connections):
        writer.write(_http_request(load, stream))

    async def read(reader: asyncio.StreamReader) -> None:
        events, tail = 0, b""
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"no stream: {(await reader.read(1000)).decode()}")
        while not tail.endswith(b"[DONE]\n\n\r\n0\r\n\r\n"):
            data = await reader.read(1 << 16)
            if not data:
                raise ConnectionError(f"the server closed the stream: {tail!r}")
            events += data.count(b"data: {")
            tail = (tail + data)[-64:]
        if not load.output_tokens - 2 <= events <= load.output_tokens:
            # A read may cut the mark of an event in two, but rarely.
            raise ConnectionError(f"{events} events, not {load.output_tokens}")

    await asyncio.gather(*(read(reader) for reader, _ in connections))
    duration_s = time.perf_counter() - start_s
    for _, writer in connections:
        writer.close()
    return duration_s


def _http_request(load: Load, stream: int) -> bytes:
    body = json.dumps(
        {
            "prompt": load.prompt(stream),
            "max_tokens": load.output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
    ).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass
class Measured:
    """Of one load, an entry a round: output tokens a second, and the processor time of the server's
    event loop, in seconds a token."""

    inside: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    loop_s: list[float] = field(default_factory=list)


def measure(
    model: str, engine: str, quant: str, loads: list[Load], rounds: int
) -> dict[int, Measured]:
    """One run of each a round, by number of streams."""
    from ...engines.clock import WallClock
    from ...engines.config import engine_config
    from ..config import RunConfig
    from ..machine.port import bind
    from ..serve.load_engine import load_engine
    from ..serve.server import GracefulServer, ServeConfig, start_service, url

    asked = engine_config(engine, quant=quant, kv_memory_bytes=256 * 2**20)
    run = RunConfig(model, asked)
    here, _ = load_engine(run, WallClock(), lambda _: None)
    service, _ = start_service(run, ServeConfig(), lambda _: None, lambda _: None)
    ready, loops = threading.Event(), []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listener])

    def run_loop() -> None:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve())

    async def processor_s() -> float:
        return time.thread_time()

    def loop_time_s() -> float:
        return asyncio.run_coroutine_threadsafe(processor_s(), loops[0]).result()

    with bind("127.0.0.1", 0) as listener:
        server = GracefulServer(service, 1.0, ready.set)
        thread = threading.Thread(target=run_loop)
        thread.start()
        ready.wait()
        found = {one.streams: Measured() for one in loads}
        try:
            for _ in range(rounds):
                for load in loads:
                    one = found[load.streams]
                    one.inside.append(load.rate(in_process(here, load)))
                    before_s = loop_time_s()
                    one.outside.append(load.rate(over_http(url(listener), load)))
                    spent_s = loop_time_s() - before_s
                    one.loop_s.append(spent_s / (load.streams * load.output_tokens))
        finally:
            server.should_exit = True
            thread.join()
    return found


def main(
    model: Annotated[str, typer.Option(help="As for llmbench run.")] = "bundled",
    engine: Annotated[str, typer.Option(help="As for llmbench run.")] = "paged",
    quant: Annotated[str, typer.Option(help="As for llmbench run.")] = "auto",
    streams: Annotated[list[int] | None, typer.Option(help="At once; again for more.")] = None,
    tokens: Annotated[int, typer.Option(help="Output tokens of each stream.")] = 128,
    rounds: Annotated[int, typer.Option(help="How often the two take turns.")] = 5,
    drain_address: Annotated[str | None, typer.Option("--drain", hidden=True)] = None,
) -> None:
    """Output tokens a second in process and over HTTP, taking turns."""
    loads = [Load(one, tokens) for one in streams or (8, 32)]
    if drain_address is not None:
        print(asyncio.run(drain(drain_address, loads[0])))
        return
    for count, one in measure(model, engine, quant, loads, rounds).items():
        ratios = [out / here for here, out in zip(one.inside, one.outside, strict=True)]
        print(
            f"{model} {engine} {quant}, {count} streams: in process {_spread(one.inside)} tok/s, "
            f"over HTTP {_spread(one.outside)}, median ratio {statistics.median(ratios):.2f}, "
            f"event loop {1e6 * min(one.loop_s):.0f} µs a token"
        )


def _spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):.0f} (best {max(rates):.0f})"


if __name__ == "__main__":
    typer.run(main)
