"""What a server says of itself, read while it is measured."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from llmbench.harness.client.server_metrics import scraping, told_by_server
from llmbench.harness.mock.server import MockServer
from llmbench.harness.rendering import run_reports
from llmbench.harness.storage.store import load_run, write_run

from ..mock.in_thread import in_thread
from .measured import measured

PAGE = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running {running}
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc 0.5
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total {preemptions}
"""


@contextmanager
def metrics_page(key: str | None = None) -> Iterator[tuple[str, Callable[[int], None]]]:
    """A server of nothing but a page of metrics, whose numbers grow by one a reading; and what
    waits until it was read so many times more. key: shown to nobody without it."""
    read = iter(range(1, 100_000))
    readings = threading.Semaphore(0)

    def wait_for(count: int) -> None:
        for _ in range(count):
            assert readings.acquire(timeout=20)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if key is not None and self.headers["Authorization"] != f"Bearer {key}":
                self.send_error(401)
                return
            at = next(read)
            text = PAGE.format(running=at, preemptions=10 + at).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            readings.release()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", wait_for
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_a_servers_own_metrics_are_read_until_it_is_stopped() -> None:
    with metrics_page() as (url, wait_for), scraping(url, interval_s=0.01) as scraper:
        wait_for(3)
        own = told_by_server(scraper.stop(), origin_s=0.0)
    assert own.kind == "vllm"
    readings = len(own.time_s)
    assert readings > 1
    assert own.series["running"] == tuple(range(1, readings + 1))
    assert own.series["preemptions"] == tuple(range(readings))
    assert own.summary["kv_used_share_mean"] == 0.5
    assert "waiting" not in own.series
    assert list(own.time_s) == sorted(own.time_s)


def test_a_server_without_metrics_is_measured_all_the_same() -> None:
    found = measured(metrics_interval_s=0.05)
    own = found.result.server_metrics
    assert own is not None
    assert own.kind == ""
    assert own.failed_scrapes >= 1
    assert own.trouble
    assert found.result.counters.requests_ok == 24
    assert (
        "The server's own account"
        not in run_reports("r", found.result, found.requests, found.steps)["report.html"].partition(
            "Glossary"
        )[0]
    )


def test_what_a_server_said_of_itself_is_in_the_reports(tmp_path: Path) -> None:
    found = measured(metrics_interval_s=0)
    assert found.result.server_metrics is None
    with metrics_page() as (url, wait_for), scraping(url, interval_s=0.01) as scraper:
        wait_for(2)
        own = told_by_server(scraper.stop(), origin_s=0.0)
    result = found.result.model_copy(update={"server_metrics": own})
    directory = write_run(tmp_path / "run", result, found.requests, found.steps, {})
    again = load_run(directory)
    assert again.result.server_metrics == own
    reports = run_reports("run", again.result, again.requests, again.steps)
    assert "What the server said of itself" in reports["report.html"]
    assert "KV cache in use, peak | 50 %" in reports["report.md"]


def test_ctrl_c_does_not_lose_what_the_server_said_of_itself() -> None:
    """It reaches every process of the terminal, the one that polls as well."""
    with metrics_page() as (url, wait_for), scraping(url, interval_s=0.01) as scraper:
        wait_for(1)
        (poller,) = multiprocessing.active_children()
        assert poller.pid is not None
        os.kill(poller.pid, signal.SIGINT)
        own = told_by_server(scraper.stop(), origin_s=0.0)
    assert own.kind == "vllm"
    assert own.series["running"][0] == 1


def test_a_poll_that_was_given_up_says_why() -> None:
    with in_thread(MockServer()) as url, scraping(url, interval_s=0.01) as scraper:
        (poller,) = multiprocessing.active_children()
        poller.join(20)
        assert not poller.is_alive()
        own = told_by_server(scraper.stop(), origin_s=0.0)
    assert own.failed_scrapes == 5
    assert "has no page of metrics" in own.trouble


def test_the_key_is_shown_where_the_metrics_are_behind_it_too() -> None:
    with (
        metrics_page("secret") as (url, wait_for),
        scraping(url, interval_s=0.01, headers={"Authorization": "Bearer secret"}) as scraper,
    ):
        wait_for(1)
        own = told_by_server(scraper.stop(), origin_s=0.0)
    assert own.kind == "vllm"
    assert not own.failed_scrapes
