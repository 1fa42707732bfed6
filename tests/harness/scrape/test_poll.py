"""Polling, on a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from llmbench.harness.scrape import ScrapedMetrics, ScrapeError, fetch_over_http, watch

from ..serve.servers import served


def page(running: int, kv: float, preemptions: int, hits: int = 0, queries: int = 0) -> str:
    return (
        f"vllm:num_requests_running {running}\nvllm:num_requests_waiting 0\n"
        f"vllm:kv_cache_usage_perc {kv}\nvllm:num_preemptions_total {preemptions}\n"
        f"vllm:prefix_cache_hits_total {hits}\nvllm:prefix_cache_queries_total {queries}\n"
    )


def watched(pages: Sequence[str | Exception], interval_s: float = 2.0) -> ScrapedMetrics:
    """What is seen of a server that shows these pages, one after the other, but for the last."""

    async def run() -> ScrapedMetrics:
        stop, left, time_s = asyncio.Event(), list(pages), [0.0]

        async def fetch() -> str:
            shown = left.pop(0)
            if len(left) <= 1:
                stop.set()
            if isinstance(shown, Exception):
                raise shown
            return shown

        async def pause(seconds: float) -> None:
            time_s[0] += seconds

        return await asyncio.wait_for(
            watch(fetch, interval_s=interval_s, stop=stop, now=lambda: time_s[0], pause=pause), 10
        )

    return asyncio.run(run())


def test_a_row_each_interval_and_what_they_come_to() -> None:
    seen = watched([page(1, 0.2, 5), page(3, 0.6, 6, 10, 40), page(2, 0.4, 9, 30, 80), "unseen"])
    assert seen.server == "vllm"
    assert seen.table() == {
        "time_s": [0.0, 2.0, 4.0],
        "kv_used_share": [0.2, 0.6, 0.4],
        "running": [1.0, 3.0, 2.0],
        "waiting": [0.0, 0.0, 0.0],
        "preemptions": [0.0, 1.0, 4.0],
    }
    summary = seen.summary()
    assert summary["kv_used_share_mean"] == pytest.approx(0.4)
    assert (summary["kv_used_share_peak"], summary["running_peak"]) == (0.6, 3.0)
    assert (summary["preemptions"], summary["prefix_hit_share"]) == (4.0, 30 / 80)


def test_a_counter_that_is_shown_once_it_was_raised_began_at_zero() -> None:
    """As SGLang 0.5's, whose counters have labels: seen of its server."""
    gauges = "sglang:num_running_reqs 1\nsglang:prompt_tokens_total 60\n"
    later = gauges.replace("60", "120") + "sglang:num_retracted_requests_total 2\n"
    last = later.replace("total 2", "total 3") + 'sglang:cached_tokens_total{cache="device"} 24\n'
    seen = watched([gauges, later, last, "unseen"])
    assert seen.table()["preemptions"] == [0.0, 2.0, 3.0]
    summary = seen.summary()
    assert (summary["preemptions"], summary["prefix_hit_tokens"]) == (3.0, 24.0)
    assert summary["prefix_hit_share"] == 24 / 60
    assert "preemptions" not in watched([gauges, gauges, "unseen"]).summary()


def test_a_scrape_that_fails_is_counted_and_the_next_is_made() -> None:
    seen = watched([page(1, 0.2, 0), OSError("connection refused"), page(2, 0.4, 0), "unseen"])
    assert [row.time_s for row in seen.scrapes] == [0.0, 4.0]
    assert (seen.failed, seen.trouble) == (1, "OSError: connection refused")


def test_a_server_without_metrics_is_not_asked_for_ever() -> None:
    seen = watched([ScrapeError("none here")] * 50)
    assert (seen.server, seen.scrapes, seen.failed) == ("", (), 5)
    assert seen.summary() == {"scrapes": 0.0}
    assert seen.table()["running"] == []


def test_a_server_that_began_anew_has_no_rise() -> None:
    seen = watched([page(1, 0.2, 5), page(1, 0.2, 1), "unseen"])
    assert "preemptions" not in seen.summary()


def test_our_own_server_over_http_by_its_base_url() -> None:
    async def run(address: str) -> ScrapedMetrics:
        stop = asyncio.Event()
        stop.set()
        fetch = fetch_over_http(f"{address}/v1/")
        return await watch(fetch, interval_s=1.0, stop=stop, now=lambda: 7.0)

    with served() as server:
        server.post("/v1/completions", {"prompt": "x", "max_tokens": 2})
        seen = asyncio.run(run(server.address))
    assert (seen.server, seen.failed, len(seen.scrapes)) == ("llmbench", 0, 1)
    assert seen.scrapes[0].running == 0


def test_a_server_that_is_down() -> None:
    async def run() -> ScrapedMetrics:
        stop = asyncio.Event()
        stop.set()
        with served() as server:
            address = server.address
        return await watch(fetch_over_http(address), interval_s=1.0, stop=stop, now=lambda: 0.0)

    seen = asyncio.run(run())
    assert seen.failed == 1
    assert "refused" in seen.trouble
