"""How many tokens each chunk of a reply held, where no count says it of that chunk alone.

Text without a count of its own is of what remains of the total. Text beside a count that does not
rise is of the tokens that were counted before it: a server may count ahead of what it sends. Either
way tokens are spread evenly over those chunks, and fewer tokens than chunks are one each, the first
with the first and the last with the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

UNCOUNTED = -1

Unknown = Literal["", "total", "split"]
"""What is not known of chunks that share tokens: nothing, where there is one for each; which of
them held how many; or, besides, which of them held none."""


def spread(chunk_tokens: Sequence[int], rest: int) -> tuple[list[int], Unknown]:
    """The tokens of each chunk, 0 for one that held none of its own, and what is not known of them.

    chunk_tokens: as counted, new with each; UNCOUNTED where no count came. rest: tokens of all
    that are UNCOUNTED.
    """
    held = list(chunk_tokens)
    unknown = {_share(held, [at for at, one in enumerate(held) if one == UNCOUNTED], rest)}
    begin = 0
    while begin < len(held):
        end = begin + 1
        while end < len(held) and not held[end]:
            end += 1
        # One token came with the first of its chunks.
        if held[begin] > 1 and end - begin > 1:
            unknown.add(_share(held, range(begin, end), held[begin]))
        begin = end
    return held, "split" if "split" in unknown else "total" if "total" in unknown else ""


def _share(held: list[int], places: Sequence[int], tokens: int) -> Unknown:
    """Give each of these chunks its share of the tokens."""
    chunks = len(places)
    if tokens < chunks:
        last = max(tokens - 1, 1)
        holders = {(chunks - 1) * nth // last for nth in range(tokens)}
        shares = [int(at in holders) for at in range(chunks)]
    else:
        shares = [tokens * (at + 1) // chunks - tokens * at // chunks for at in range(chunks)]
    for place, share in zip(places, shares, strict=True):
        held[place] = share
    if tokens in (0, chunks):
        return ""
    return "total" if tokens > chunks else "split"
