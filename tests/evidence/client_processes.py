"""What more processes of the client are good for, where the client is what there is to measure.

    python -m tests.evidence.client_processes --processes 1,2

The mock server has as much work with a chunk as the client, so on a machine of two cores it is the
limit. This one has every reply's bytes ready, and writes them in a few pieces. Loads rise until the
client's own checks (`client_overload`, `sender_lag`) fail.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import httptools
from llmbench.harness.client.addresses import resolve
from llmbench.harness.client.bodies import fixed_fields
from llmbench.harness.client.calibrate import Point, plan_of
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.lag import check_client, check_send_lag
from llmbench.harness.client.load_summary import client_load
from llmbench.harness.client.processes import Job, send_job
from llmbench.harness.client.servers import SERVERS
from llmbench.harness.mock.script import Chunk, Script
from llmbench.harness.mock.wire import LAST, STREAM_HEAD, Wire, framed
from llmbench.harness.run.planning import asked_of
from llmbench.harness.run.record import RequestStatus

TOKENS = 100
PIECES = 4
PIECE_EVERY_S = 0.02


@dataclass(frozen=True)
class Found:
    """A load that was sent. chunks_per_s: over the run. valid: by the client's own checks."""

    processes: int
    chunks_per_s: float
    lag_p99_s: float
    send_lag_p99_s: float
    cpu_share: float
    valid: bool


def prepared() -> list[bytes]:
    """A reply of TOKENS chunks of a token, in PIECES writes."""
    script = Script((Chunk(0.0),) * TOKENS)
    wire = Wire(script, "r", chat=False, prompt_tokens=64)
    events = [framed(wire.chunk(one, last=False)) for one in script.chunks]
    size = TOKENS // PIECES
    pieces = [b"".join(events[at : at + size]) for at in range(0, TOKENS, size)]
    return [STREAM_HEAD + pieces[0], *pieces[1:-1], pieces[-1] + framed(wire.end()) + LAST]


class Prepared(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._write(0)

    def _write(self, at: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._pieces[at])
        if at + 1 < len(self._pieces):
            asyncio.get_running_loop().call_later(PIECE_EVERY_S, self._write, at + 1)


def serve(parent: Connection) -> None:
    async def main() -> None:
        pieces = prepared()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Prepared(pieces), "127.0.0.1", 0, backlog=4096)
        parent.send(server.sockets[0].getsockname()[1])
        await loop.create_future()

    asyncio.run(main())


@contextmanager
def serving() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    child.start()
    try:
        assert ours.poll(30), "the server did not start"
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        child.terminate()
        child.join()


def measure(url: str, requests_per_s: float, processes: int, seconds: float) -> Found:
    plan = plan_of(Point(requests_per_s, TOKENS, 0.0), seconds, seed=0)
    config = ClientConfig(parse_url(url), processes=processes, max_errors=1)
    server = SERVERS["mock"]
    fixed = fixed_fields(config, server, "mock", "")
    job = Job(config, server, fixed, "limit", plan, resolve(config))
    sent = send_job(job, lambda _: None)
    records = sent.sent.records
    served = [one for one in records if one.status is RequestStatus.OK]
    assert len(served) == len(plan.requests), sent.sent.failure
    assert all(one.output_tokens == TOKENS for one in served)
    load = client_load(sent)
    checks = (check_client(records, load), check_send_lag(records, asked_of(plan)))
    ends_s = max(one.token_times_s[-1] for one in served)
    return Found(
        processes,
        TOKENS * len(served) / ends_s,
        load.loop_lag_p99_s,
        load.send_lag_p99_s,
        load.cpu_share,
        all(one.ok for one in checks),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--rates", default="100,200,300,400,500,600,700,800")
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    print("| processes | requests/s | chunks/s | p99 lag | p99 send lag | of a core | |")
    print("|---:|---:|---:|---:|---:|---:|---|")
    with serving() as url:
        for rate in (float(one) for one in asked.rates.split(",")):
            for processes in (int(one) for one in asked.processes.split(",")):
                one = measure(url, rate, processes, asked.seconds)
                print(
                    f"| {processes} | {rate:.0f} | {one.chunks_per_s:.0f} "
                    f"| {1e3 * one.lag_p99_s:.1f} ms | {1e3 * one.send_lag_p99_s:.1f} ms "
                    f"| {100 * one.cpu_share:.0f} % | {'' if one.valid else 'invalid'} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
