"""How the KV cache was used."""

from __future__ import annotations

from pydantic import Field

from .base import ResultPart


class Share(ResultPart):
    """A quantity over the run: time-weighted mean and peak."""

    mean: float
    peak: float


class KVSummary(ResultPart):
    """How the KV cache was used. See `engines/kv/usage.py` for each state's definition."""

    kind: str
    capacity_tokens: int
    capacity_bytes: int
    bytes_per_token: int
    useful_tokens: Share
    reserved_tokens: Share
    internal_tokens: Share
    external_tokens: Share
    shared_tokens: Share
    waste_share: float | None = Field(
        description="1 - useful / (useful + reserved + internal + external), time-weighted; "
        "null when nothing was ever held."
    )
