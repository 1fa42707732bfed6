"""From the text of a `/metrics` page to one reading, for the servers whose names are known.

Sources of the names: vLLM `vllm/v1/metrics/loggers.py` (0.32) and its docs/design/metrics.md;
SGLang docs/references/production_metrics.md; TensorRT-LLM `tensorrt_llm/metrics/collector.py`;
llama.cpp `tools/server/README.md`. The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from .metrics import Scrape


class ScrapeError(ValueError):
    """A page that gives no reading; `str()` is one line."""


@dataclass(frozen=True)
class Names:
    """What one kind of server calls things; of several names the first that is there is read.

    An empty tuple: it does not say.
    """

    server: str
    running: tuple[str, ...]
    waiting: tuple[str, ...]
    kv_used_share: tuple[str, ...] = ()
    preemptions: tuple[str, ...] = ()
    prefix_hit_tokens: tuple[str, ...] = ()
    prefix_query_tokens: tuple[str, ...] = ()


def _vllm_like(prefix: str, *older_kv: str) -> Names:
    return Names(
        server=prefix.rstrip(":"),
        running=(prefix + "num_requests_running",),
        waiting=(prefix + "num_requests_waiting",),
        kv_used_share=(prefix + "kv_cache_usage_perc", *older_kv),
        preemptions=(prefix + "num_preemptions_total",),
        prefix_hit_tokens=(prefix + "prefix_cache_hits_total",),
        prefix_query_tokens=(prefix + "prefix_cache_queries_total",),
    )


SERVERS = (
    # Before version 1, vLLM's name for the share had the device in it.
    _vllm_like("vllm:", "vllm:gpu_cache_usage_perc"),
    _vllm_like("llmbench:"),
    Names(
        server="sglang",
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        kv_used_share=("sglang:token_usage",),
        # `num_retracted_reqs` is a gauge of the last step and no count.
        preemptions=("sglang:num_retracted_requests_total",),
        prefix_hit_tokens=("sglang:cached_tokens_total",),
        prefix_query_tokens=("sglang:prompt_tokens_total",),
    ),
    Names(
        server="trtllm",
        running=("trtllm_num_requests_running",),
        waiting=("trtllm_num_requests_waiting",),
        kv_used_share=("trtllm_kv_cache_utilization",),
        prefix_hit_tokens=("trtllm_prompt_cached_tokens_total",),
        prefix_query_tokens=("trtllm_prompt_tokens_total",),
    ),
    Names(
        server="llamacpp",
        running=("llamacpp:requests_processing",),
        waiting=("llamacpp:requests_deferred",),
        # Of builds before the unified cache; later ones do not say.
        kv_used_share=("llamacpp:kv_cache_usage_ratio",),
    ),
)
# Ranks of one engine repeat its numbers; those of data parallelism (`engine`, `dp_rank`) add up.
_REPEATING = ("tp_rank", "pp_rank", "moe_ep_rank")


def parse(text: str, time_s: float) -> tuple[str, Scrape]:
    """The kind of server, and its reading. Raises ScrapeError for another format or other names."""
    try:
        series = _series(text)
    except (ValueError, IndexError, OverflowError) as error:  # of the parser, and of its numbers
        raise ScrapeError(f"is not in the text format of Prometheus: {_line(error)}") from error
    for names in SERVERS:
        if any(name in series for name in (*names.running, *names.kv_used_share)):
            return names.server, _read(names, series, time_s)
    raise ScrapeError("has no metric of a server that is known here")


Series = Mapping[str, list[tuple[Mapping[str, str], float]]]


def _series(text: str) -> Series:
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return found


def _read(names: Names, series: Series, time_s: float) -> Scrape:
    def total(wanted: Iterable[str]) -> float | None:
        values = _values(series, wanted)
        return sum(values) if values else None

    shares = _values(series, names.kv_used_share)
    return Scrape(
        time_s=time_s,
        # Engines side by side have caches of one size.
        kv_used_share=sum(shares) / len(shares) if shares else None,
        running=total(names.running),
        waiting=total(names.waiting),
        preemptions=total(names.preemptions),
        prefix_hit_tokens=total(names.prefix_hit_tokens),
        prefix_query_tokens=total(names.prefix_query_tokens),
    )


def _values(series: Series, wanted: Iterable[str]) -> list[float]:
    """Of the first name that is there, one value for each engine."""
    for name in wanted:
        kept = [
            value
            for labels, value in series.get(name, ())
            if all(labels.get(rank, "0") in ("0", "") for rank in _REPEATING)
            # SGLang repeats a queue by priority beside the whole of it.
            and not labels.get("priority")
            and math.isfinite(value)
        ]
        if kept:
            return kept
    return []


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
