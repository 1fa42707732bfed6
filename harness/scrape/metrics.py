"""A server's own numbers over a run: one row a scrape, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

COLUMNS = ("time_s", "kv_used_share", "running", "waiting", "preemptions")


@dataclass(frozen=True)
class Scrape:
    """One reading; None where this kind of server does not say.

    time_s: on the clock of whoever polls. kv_used_share: of the KV cache, 0 to 1; what is held for
    requests, not what only a prefix cache would miss. running, waiting: requests, or sequences, as
    the server counts them. preemptions, prefix_hit_tokens, prefix_query_tokens: since the server
    began; hits are prompt tokens that were not computed, queries those that were looked up.
    """

    time_s: float
    kv_used_share: float | None = None
    running: float | None = None
    waiting: float | None = None
    preemptions: float | None = None
    prefix_hit_tokens: float | None = None
    prefix_query_tokens: float | None = None


@dataclass(frozen=True)
class ScrapedMetrics:
    """Everything that was scraped.

    server: `vllm`, `sglang`, `trtllm`, `llamacpp`, `llmbench`; empty if nothing was understood.
    failed: scrapes that gave nothing; trouble: why the first of them did not, in one line.
    """

    server: str
    scrapes: tuple[Scrape, ...]
    failed: int = 0
    trouble: str = ""

    def table(self) -> dict[str, list[float | None]]:
        """By column, a row a scrape; preemptions count from the first one."""
        table = {name: [getattr(row, name) for row in self.scrapes] for name in COLUMNS}
        counts = _from_its_first_row(table["preemptions"])
        first = counts[0] if counts else None
        table["preemptions"] = [
            None if count is None or first is None else count - first for count in counts
        ]
        return table

    def summary(self) -> dict[str, float]:
        """What is known: means and peaks of the gauges over the scrapes, and how far the counters
        rose from the first scrape to the last.

        A gauge between two scrapes is not seen: a peak is the highest that was read. A counter that
        fell belongs to a server that began anew, and is left out.
        """
        found: dict[str, float] = {"scrapes": float(len(self.scrapes))}
        for name in ("kv_used_share", "running", "waiting"):
            values = self._values(name)
            if values:
                found[f"{name}_mean"] = sum(values) / len(values)
                found[f"{name}_peak"] = max(values)
        preemptions = self._rise(lambda row: row.preemptions)
        if preemptions is not None:
            found["preemptions"] = preemptions
        hits = self._rise(lambda row: row.prefix_hit_tokens)
        queries = self._rise(lambda row: row.prefix_query_tokens)
        if hits is not None:
            found["prefix_hit_tokens"] = hits
        if hits is not None and queries:
            found["prefix_hit_share"] = hits / queries
        return found

    def _values(self, name: str) -> list[float]:
        return [value for row in self.scrapes if (value := getattr(row, name)) is not None]

    def _rise(self, counter: Callable[[Scrape], float | None]) -> float | None:
        counts = _from_its_first_row([counter(row) for row in self.scrapes])
        values = [count for count in counts if count is not None]
        rise = values[-1] - values[0] if values else -1.0
        return rise if rise >= 0 else None


def _from_its_first_row(counts: Sequence[float | None]) -> list[float | None]:
    """A counter's readings, 0 in those before the first that has it.

    A counter with labels is on a page only once it was raised: SGLang's of retractions and of
    tokens found in its cache come with the first of them. One that never comes stays unsaid.
    """
    first = next((at for at, count in enumerate(counts) if count is not None), 0)
    return [0.0] * first + list(counts[first:])
