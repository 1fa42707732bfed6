"""`/metrics`, for Prometheus: named as vLLM names it wherever the meaning is the same.

vLLM's list: https://docs.vllm.ai/en/stable/usage/metrics/. The prefix differs, so that no dashboard
takes this server for that one. Ids in brackets are those of `result.json` (docs/metrics.md).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ...engines.api import FinishReason
from .lives import TAKEN_BACK, Life, StepSeen

PREFIX = "llmbench:"
_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0),
)
_TOKENS = tuple(float(2**power) for power in range(15))


class ServerMetrics:
    """An observer of the engine that Prometheus can read. `text` may be called from any thread."""

    def __init__(self, model: str, *, prefix_cache: bool) -> None:
        """prefix_cache: whether the engine looks prompts up; else it has no such counters."""
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, says: str) -> Gauge:
            made = Gauge(PREFIX + name, says, ("model_name",), registry=registry)
            return made.labels(model)

        def counter(name: str, says: str) -> Counter:
            made = Counter(PREFIX + name, says, ("model_name",), registry=registry)
            return made.labels(model)

        def histogram(name: str, says: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            made = Histogram(
                PREFIX + name, says, ("model_name",), buckets=buckets, registry=registry
            )
            return made.labels(model)

        self._running = gauge("num_requests_running", "Sequences that run, as of the last step.")
        self._waiting = gauge(
            "num_requests_waiting", "Sequences that wait or are swapped out, as of the last step."
        )
        self._kv = gauge(
            "kv_cache_usage_perc", "Share of the KV cache that is set aside for sequences, 0 to 1."
        )
        self._preemptions = counter("num_preemptions", "Sequences that had to make room.")
        self._prompt = counter("prompt_tokens", "Prompt tokens of requests that were begun.")
        self._generation = counter("generation_tokens", "Output tokens.")
        self._queries = self._hits = None
        if prefix_cache:
            self._queries = counter("prefix_cache_queries", "Prompt tokens looked up.")
            self._hits = counter("prefix_cache_hits", "Tokens found [prefix_hit_tokens].")
        self._ended = Counter(
            PREFIX + "request_success",
            "Choices that ended, by reason; those that were taken back as well.",
            ("model_name", "finished_reason"),
            registry=registry,
        )
        self._model = model
        self._steps = histogram(
            "iteration_tokens_total", "Tokens computed in a step [batch_tokens].", _TOKENS
        )
        self._ttft = histogram("time_to_first_token_seconds", "Of a choice, from arrival [ttft].")
        self._tpot = histogram(
            "request_time_per_output_token_seconds", "Of a choice, after its first token [tpot]."
        )
        self._e2el = histogram(
            "e2e_request_latency_seconds", "Of a choice, arrival to last token [e2el]."
        )
        self._queue = histogram(
            "request_queue_time_seconds", "Of a request, arrival to first step [queue]."
        )

    def step(self, seen: StepSeen, output_tokens: int) -> None:
        self._running.set(seen.running)
        self._waiting.set(seen.waiting)
        self._kv.set(seen.held_share)
        self._generation.inc(output_tokens)
        self._steps.observe(seen.batch_tokens)
        if seen.preempted:
            self._preemptions.inc(seen.preempted)
        if self._hits is not None and seen.cached_tokens:
            self._hits.inc(sum(seen.cached_tokens.values()))

    def scheduled(self, life: Life) -> None:
        assert life.scheduled_s is not None
        self._prompt.inc(life.prompt_tokens)
        # A pipelined engine plans a step before its trace says it began.
        self._queue.observe(max(0.0, life.scheduled_s - life.arrival_s))
        if self._queries is not None:
            self._queries.inc(life.prompt_tokens)

    def ended(self, life: Life) -> None:
        for choice, finish in enumerate(life.finish):
            self._ended.labels(self._model, str(finish or TAKEN_BACK)).inc()
            tokens = life.tokens[choice]
            if finish not in (FinishReason.STOP, FinishReason.LENGTH):
                continue
            first_s, last_s = life.first_s[choice], life.last_s[choice]
            self._ttft.observe(first_s - life.arrival_s)
            self._e2el.observe(last_s - life.arrival_s)
            if tokens > 1:
                self._tpot.observe((last_s - first_s) / (tokens - 1))

    def idle(self) -> None:
        for gauge in (self._running, self._waiting, self._kv):
            gauge.set(0)

    def text(self) -> bytes:
        """In the text format of Prometheus, version 0.0.4."""
        return generate_latest(self._registry)
