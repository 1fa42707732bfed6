"""A server that is not ours: how it was asked, and what it said of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import ResultPart


class Target(ResultPart):
    """A server that is not ours, and how it was asked."""

    kind: Literal["openai"] = "openai"
    server: str = Field(description="Whose table of fields was sent: vllm, llama.cpp, …")
    owner: str = Field(description="What its /v1/models calls its maker.")
    base_url: str
    addresses: tuple[str, ...] = Field(
        default=(),
        description="What its name led to as the run began, in the order in which they were tried.",
    )
    endpoint: Literal["completions", "chat"]
    prompt_as: Literal["ids", "text"]
    output_lengths: Literal["exact", "at-most"] = Field(
        default="exact",
        description="`exact`: every reply was to have the tokens asked for; `at-most`: it could "
        "end before, where the model ended it, so that throughput and E2EL are of these lengths.",
    )
    ended_early: int = Field(
        default=0, description="Served replies that have fewer tokens than were asked for."
    )
    asked_output_tokens: int | None = Field(
        default=None,
        description="Tokens that were asked for of the served requests, in all; null in results "
        "of versions that did not keep it.",
    )
    counted: dict[str, int] = Field(
        description="Replies by what the tokens of their chunks are known by; `total`: only their "
        "sum is, so they have no gaps between tokens; `split`: so it is, and more chunks had text "
        "than there were tokens."
    )
    errors: dict[str, int] = Field(description="Failed requests by label.")


class ServerOwnMetrics(ResultPart):
    """What a server said of itself on its page of metrics while it was measured: its definitions,
    seen now and then. Counters count from the first scrape.

    series: by name (kv_used_share, running, waiting, preemptions), a value for each of `time_s`,
    seconds since the run began. summary: means and peaks of these, and what counters rose by.
    """

    kind: str = Field(description="Whose names were found; empty for none.")
    failed_scrapes: int
    trouble: str = Field(description="Why the first that failed did.")
    summary: dict[str, float]
    time_s: tuple[float, ...]
    series: dict[str, tuple[float | None, ...]]
