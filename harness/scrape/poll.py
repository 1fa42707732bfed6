"""Polls a server's metrics beside a run, with a clock and a fetch that a test can replace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException

from ..client.direct_http import fetch
from ..client.tls import Trust
from .metrics import Scrape, ScrapedMetrics
from .parse import ScrapeError, parse

Fetch = Callable[[], Awaitable[str]]
"""The text of the page now. Raises OSError, HTTPException or ScrapeError if there is none."""

TIMEOUT_S = 2.0
# A server that never answered will not begin to; asking on would only be load.
GIVE_UP_AFTER = 5
# trtllm-serve has JSON at the first.
_PATHS = ("/metrics", "/prometheus/metrics")


async def watch(
    fetch: Fetch,
    *,
    interval_s: float,
    stop: asyncio.Event,
    now: Callable[[], float],
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> ScrapedMetrics:
    """Scrape at once, every `interval_s` until `stop` is set, and once more then.

    fetch: `fetch_over_http(base_url)`, or one of the caller's own client. now: the run's clock, in
    seconds, which the rows are stamped with. A scrape that fails is counted and changes nothing
    else; five in a row before the first that succeeds end the polling. Never raises for what a
    server does; cancelling it loses what was scraped, so set `stop` instead:

        stop = asyncio.Event()
        polling = asyncio.create_task(
            watch(fetch_over_http(base_url), interval_s=1.0, stop=stop, now=clock.now))
        ...                                   # the run
        stop.set()
        metrics = await polling               # metrics.table(), metrics.summary()
    """
    watched = _Watched()
    while not watched.hopeless:
        await watched.scrape(fetch, now)
        if stop.is_set():
            break
        await _either(stop, pause(interval_s))
    return ScrapedMetrics(watched.server, tuple(watched.rows), watched.failed, watched.trouble)


class _Watched:
    def __init__(self) -> None:
        self.server = ""
        self.rows: list[Scrape] = []
        self.failed = 0
        self.trouble = ""

    @property
    def hopeless(self) -> bool:
        return not self.rows and self.failed >= GIVE_UP_AFTER

    async def scrape(self, fetch: Fetch, now: Callable[[], float]) -> None:
        try:
            text = await fetch()
            # Stamped when it is here: what it says is not older than the request for it.
            self.server, row = parse(text, now())
        except (OSError, HTTPException, ScrapeError) as error:
            self.failed += 1
            self.trouble = self.trouble or " ".join(f"{type(error).__name__}: {error}".split())
        else:
            self.rows.append(row)


async def _either(stop: asyncio.Event, pause: Awaitable[object]) -> None:
    """Until one of the two; the other is dropped."""
    waits = [asyncio.ensure_future(pause), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one


def fetch_over_http(
    base_url: str,
    *,
    headers: Mapping[str, str] | None = None,
    trust: Trust | None = None,
) -> Fetch:
    """From the server of an API's base URL, with or without its `/v1` and a query. In a thread of
    its own: a page that is slow to come must not hold up the client's event loop. trust: for
    https."""
    root, mark, query = base_url.partition("?")
    root = root.rstrip("/").removesuffix("/v1")
    found: list[str] = []

    def page() -> str:
        for path in found or _PATHS:
            answer = fetch(root + path + mark + query, TIMEOUT_S, headers=headers, trust=trust)
            if answer.status != HTTPStatus.OK:
                continue
            text = answer.body.decode("utf-8", errors="replace")
            if found or not text.lstrip().startswith(("{", "[")):
                found[:] = [path]
                return text
        raise ScrapeError(f"{root} has no page of metrics")

    return lambda: asyncio.to_thread(page)
