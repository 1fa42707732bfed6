"""What a server says of itself while it is measured, scraped by a process of its own.

Reading a page of metrics takes tens of milliseconds of Python; in the client's process that would
make sends late.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import cast

from ..result import ServerOwnMetrics
from ..scrape import Fetch, ScrapedMetrics, fetch_over_http, watch
from .tls import Trust

INTERVAL_S = 1.0
START_WITHIN_S = 30.0
# A last scrape, and the polling's own timeout before it.
_END_WITHIN_S = 10.0


class Scraper:
    """Polls until it is stopped. Times are of CLOCK_MONOTONIC."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def stop(self) -> ScrapedMetrics:
        """Everything that was scraped; once."""
        # One that has given up is gone, and what it found is still to be read.
        with suppress(OSError):
            self._pipe.send(None)
        try:
            if self._pipe.poll(_END_WITHIN_S):
                return self._pipe.recv()
        except (EOFError, OSError):
            return ScrapedMetrics("", (), 1, "the process that polled it ended early")
        return ScrapedMetrics("", (), 1, f"the last scrape took more than {_END_WITHIN_S:g} s")


@contextmanager
def scraping(
    base_url: str,
    interval_s: float = INTERVAL_S,
    headers: Mapping[str, str] | None = None,
    trust: Trust | None = None,
) -> Iterator[Scraper]:
    """A scraper that has begun; its process is gone at the end."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=_poll, args=(base_url, interval_s, headers, trust, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        if ours.poll(START_WITHIN_S):
            # One that died as it started is found out when it is stopped.
            with suppress(EOFError):
                ours.recv()
        yield Scraper(cast("Connection", ours))
    finally:
        ours.close()
        process.join(1)
        process.terminate()
        process.join()


def told_by_server(metrics: ScrapedMetrics, origin_s: float) -> ServerOwnMetrics:
    """As a result keeps it. origin_s: of the run's clock, on the scraper's."""
    series = {name: tuple(values) for name, values in metrics.table().items()}
    times = [time_s - origin_s for time_s in series.pop("time_s") if time_s is not None]
    return ServerOwnMetrics(
        kind=metrics.server,
        failed_scrapes=metrics.failed,
        trouble=metrics.trouble,
        summary=metrics.summary(),
        time_s=tuple(times),
        series={
            name: values
            for name, values in series.items()
            if any(value is not None for value in values)
        },
    )


def _poll(
    base_url: str,
    interval_s: float,
    headers: Mapping[str, str] | None,
    trust: Trust | None,
    pipe: Connection,
) -> None:
    # Ctrl-C reaches every process of the terminal; what was read until then is kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fetch = fetch_over_http(base_url, headers=headers, trust=trust)
    asyncio.run(_polled(fetch, interval_s, pipe))


async def _polled(fetch: Fetch, interval_s: float, pipe: Connection) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
    pipe.send(None)
    found = await watch(fetch, interval_s=interval_s, stop=stop, now=time.monotonic)
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    try:
        pipe.send(found)
    except OSError:
        return  # nobody waits for it any more
