"""What the adapters have in common: a piece of a reply as our token events, an error as a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...engines.api import FinishReason, TokenEvent


def token_events(
    request_id: str,
    token_ids: Sequence[int],
    time_s: float,
    finish: FinishReason | None = None,
    detail: str = "",
    choice: int = 0,
) -> Iterable[TokenEvent]:
    """Of tokens that came together: they have one time, and the last carries the finish. A finish
    without a token is an event of its own."""
    *before, last = list(token_ids) or [None]
    for token in before:
        yield TokenEvent(request_id, token, time_s, choice=choice)
    if last is not None or finish is not None:
        yield TokenEvent(request_id, last, time_s, finish, detail, choice)


def line_of(error: BaseException) -> str:
    """What an exception of a library says, in one line; its class where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__
