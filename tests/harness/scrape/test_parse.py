"""Readings of each kind of server, from pages written as their documentation shows them."""

from __future__ import annotations

import pytest
from llmbench.harness.scrape import Scrape, ScrapeError, parse
from llmbench.harness.serve.metrics import ServerMetrics as OwnMetrics

VLLM = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 100.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 64.0
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="m"} 2.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 5.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 5.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 0.5
"""
SGLANG = """
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="m",tp_rank="0"} 0.28
sglang:token_usage{model_name="m",tp_rank="1"} 0.28
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m",tp_rank="0"} 5
sglang:num_running_reqs{model_name="m",tp_rank="1"} 5
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="m",tp_rank="0",priority=""} 3
sglang:num_queue_reqs{model_name="m",tp_rank="0",priority="1"} 2
# TYPE sglang:num_retracted_reqs gauge
sglang:num_retracted_reqs{model_name="m",tp_rank="0"} 9
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{model_name="m"} 10
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="m"} 40
"""
TRTLLM = """
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{model_name="m",engine_type="trtllm"} 2.0
# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{model_name="m",engine_type="trtllm"} 0.0
# TYPE trtllm_kv_cache_utilization gauge
trtllm_kv_cache_utilization{model_name="m",engine_type="trtllm"} 0.5
"""
LLAMA_CPP = """
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 7
"""


@pytest.mark.parametrize(
    ("page", "server", "reading"),
    [
        # Two engines side by side: requests add up, shares do not.
        (VLLM, "vllm", Scrape(9.0, 0.5, 7.0, 1.0, 2.0, 64.0, 100.0)),
        # Ranks repeat; the gauge of retractions is not a count of them.
        (SGLANG, "sglang", Scrape(9.0, 0.28, 5.0, 3.0, None, 10.0, 40.0)),
        (TRTLLM, "trtllm", Scrape(9.0, 0.5, 2.0, 0.0)),
        (LLAMA_CPP, "llamacpp", Scrape(9.0, None, 1.0, 7.0)),
        ("vllm:gpu_cache_usage_perc 0.5\n", "vllm", Scrape(9.0, 0.5)),
    ],
    ids=["vllm", "sglang", "trtllm", "llama.cpp", "vllm v0"],
)
def test_each_kind_of_server(page: str, server: str, reading: Scrape) -> None:
    assert parse(page, 9.0) == (server, reading)


def test_our_own_page_is_read_back() -> None:
    page = OwnMetrics("m", prefix_cache=True).text().decode()
    assert parse(page, 1.0) == ("llmbench", Scrape(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    without = OwnMetrics("m", prefix_cache=False).text().decode()
    assert parse(without, 1.0)[1].prefix_hit_tokens is None


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("", "no metric"),
        ("process_cpu_seconds_total 1.0\n", "no metric"),
        ("<html><body>404</body></html>", "not in the text format"),
        ("vllm:num_requests_running{", "not in the text format"),
        ("vllm:num_requests_running many\n", "not in the text format"),
    ],
)
def test_a_page_that_says_nothing(page: str, says: str) -> None:
    with pytest.raises(ScrapeError, match=says):
        parse(page, 0.0)


def test_a_gauge_that_is_no_number_is_not_read() -> None:
    page = "vllm:num_requests_running 1.0\nvllm:kv_cache_usage_perc NaN\n"
    assert parse(page, 0.0)[1] == Scrape(0.0, None, 1.0)


@pytest.mark.parametrize(
    "page",
    ['vllm:num_requests_running{a="1", ="2"} 1\n', f"vllm:num_requests_running {'9' * 400}\n"],
    ids=["a label without a name", "a number that no float holds"],
)
def test_a_page_that_the_parser_stumbles_over_gives_no_reading(page: str) -> None:
    with pytest.raises(ScrapeError, match="text format"):
        parse(page, 0.0)
