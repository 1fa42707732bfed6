"""What held room was for: the five states of KV memory, once final lengths are known.

Source: the accounting of Kwon et al. (PagedAttention, SOSP 2023, section 3.1), which tells room
a request will still use from room it never will.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..trace import KVUsage


@dataclass(frozen=True)
class KVSplit:
    """One moment of the KV cache, in tokens of room.

    useful_tokens: room whose keys and values are written; what is shared counts once.
    reserved_tokens: held, and written later by the request that holds it.
    internal_tokens: held and never written by the request that holds it.
    external_tokens: free, and no use to the head of the queue: no one piece is large enough.
    shared_tokens: room saved by sharing blocks; a gain, so no part of the waste.
    """

    useful_tokens: int
    reserved_tokens: int
    internal_tokens: int
    external_tokens: int
    shared_tokens: int

    @property
    def taken_tokens(self) -> int:
        """Room that is not free to the head of the queue, for whatever reason."""
        return (
            self.useful_tokens + self.reserved_tokens + self.internal_tokens + self.external_tokens
        )


def split(usage: KVUsage, final_tokens: Mapping[str, int]) -> KVSplit:
    """Tell held room apart by what became of it.

    With u used, R held and F final tokens of each live sequence: useful = sum(u) - shared,
    reserved = sum(min(R, F) - u), internal = sum(R - min(R, F)). External and shared room are
    the cache's own to know and pass through.

    final_tokens: F by request id, the most tokens of KV the request ever had: known only after
    the run. For a request that was cut short, what it reached.
    Raises KeyError for a request with no final length and ValueError if not u <= min(R, F).
    """
    holdings = usage.holdings
    useful = reserved = internal = 0
    for name, used, held in zip(holdings.request_ids, holdings.used, holdings.held, strict=True):
        final = final_tokens[name]
        wanted = held if held < final else final
        if used > wanted:
            raise ValueError(f"{name}: {used} tokens used, but {held} held and {final} in the end")
        useful += used
        reserved += wanted - used
        internal += held - wanted
    return joined(usage, useful, reserved, internal)


def joined(usage: KVUsage, useful: int, reserved: int, internal: int) -> KVSplit:
    """The split of a cache whose holdings sum to these, shared room counted once."""
    # The unwritten end of a block that samples share stands in each of their holdings.
    counted_twice = usage.shared_room_tokens - usage.shared_tokens
    from_internal = min(internal, counted_twice)
    internal -= from_internal
    reserved -= counted_twice - from_internal
    return KVSplit(
        useful - usage.shared_tokens,
        reserved,
        internal,
        usage.external_tokens,
        usage.shared_tokens,
    )


def waste_share(timed: Iterable[tuple[KVSplit, float]]) -> float | None:
    """1 - useful / (useful + reserved + internal + external), each integrated over time.

    timed: splits and the seconds each lasted. None if nothing was ever taken.
    """
    useful = taken = 0.0
    for parts, duration_s in timed:
        useful += parts.useful_tokens * duration_s
        taken += parts.taken_tokens * duration_s
    return 1.0 - useful / taken if taken else None
