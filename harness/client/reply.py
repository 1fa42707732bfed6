"""One reply as it comes in: when its chunks came, and how many tokens each held.

A chunk is not a token: a server may hold tokens back and send several at once, or send none. What
counts is what the server says it has produced, or the ids it returns; text is never tokenised
again. Where a count comes after chunks without one, as that of the whole reply at its end, tokens
are spread evenly over the chunks that had text, and `counted` says so: such a reply has no gaps
between tokens, only between chunks. Nor is a token a chunk: what parses thoughts or calls of tools
may send one in two. Where chunks are more than tokens, tokens are spread evenly over them, the
first with the first and the last with the last, and the chunks without one are not kept.
"""

from __future__ import annotations

from array import array
from typing import Any, Literal

from .errors import Label, RequestFailedError

Counted = Literal["", "usage", "timings", "token_ids", "total", "split"]
"""By what the tokens of each chunk are known; `total`: only their sum is; `split`: likewise, and
more chunks had text than there were tokens."""

# No model writes more, and no server many times what it was asked for; one that says so would fill
# the memory with times.
MOST_TOKENS = 2**24
_MOST_TIMES_ASKED, _LEAST_BOUND = 16, 4096
# A token is some four characters: one in more chunks than that several times over is none.
_MOST_CHUNKS_A_TOKEN = 16
_LONGEST_REASON = 40
_UNKNOWN = -1


def most_tokens(asked_tokens: int) -> int:
    """What a reply may say that it has, of one that was asked for so many."""
    return min(max(_MOST_TIMES_ASKED * asked_tokens, _LEAST_BOUND), MOST_TOKENS)


class Reply:
    """Fills as events come.

    chunk_times_s: when each event with text or tokens arrived. chunk_tokens: beside it.
    prompt_tokens, cached_tokens: as the server counted; None: it does not say. most: tokens that
    nothing more is believed than. finish_reason: as the server says; empty: it does not.
    """

    __slots__ = (
        "_finished_s",
        "_most",
        "_open",
        "_produced",
        "_total",
        "cached_tokens",
        "chunk_times_s",
        "chunk_tokens",
        "counted",
        "finish_reason",
        "prompt_tokens",
        "token_ids",
    )

    def __init__(self, most: int = MOST_TOKENS) -> None:
        self._most = most
        # Whether text has come since the last count.
        self._open = False
        self.chunk_times_s: array[float] = array("d")
        self.chunk_tokens: array[int] = array("i")
        self.token_ids: array[int] = array("q")
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.counted: Counted = ""
        self.finish_reason = ""
        self._finished_s = 0.0
        self._produced = 0
        self._total: int | None = None

    def note(self, event: dict[str, Any], time_s: float) -> None:
        """One event that arrived at time_s. Raises RequestFailedError for one that says the server
        failed, or contradicts what it said before."""
        # Some frames have the field in every event, and null in it.
        if event.get("error") is not None:
            raise RequestFailedError(Label.SERVER_ERROR, str(event["error"]))
        try:
            self._note(event, time_s)
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise RequestFailedError(
                Label.MALFORMED_SSE, f"not an event of this API ({error}): {event}"
            ) from error

    def _note(self, event: dict[str, Any], time_s: float) -> None:
        usage = event.get("usage")
        if usage:
            self._note_usage(usage)
        choices = event.get("choices")
        if not choices:
            return
        choice = choices[0]
        if reason := choice.get("finish_reason"):
            self.finish_reason, self._finished_s = str(reason)[:_LONGEST_REASON], time_s
        tokens = self._tokens_of(event, usage, choice)
        if tokens or (tokens is None and _text_of(choice)):
            self.chunk_times_s.append(time_s)
            self.chunk_tokens.append(_UNKNOWN if tokens is None else tokens)

    def _note_usage(self, usage: dict[str, Any]) -> None:
        if (prompt := usage.get("prompt_tokens")) is not None:
            self.prompt_tokens = _count("prompt_tokens", prompt)
        if (completion := usage.get("completion_tokens")) is not None:
            total = int(completion)
            if not (self._total or 0) <= total <= self._most:
                raise RequestFailedError(
                    Label.BAD_USAGE, f"completion_tokens went from {self._total} to {total}"
                )
            self._total = total
        details = usage.get("prompt_tokens_details")
        if details and (cached := details.get("cached_tokens")) is not None:
            self.cached_tokens = _count("cached_tokens", cached)

    def _tokens_of(
        self, event: dict[str, Any], usage: dict[str, Any] | None, choice: dict[str, Any]
    ) -> int | None:
        """How many tokens are new with this event; None: it does not say, or says it of earlier
        ones, too. Ids go before counts: they are the tokens themselves."""
        ids = choice.get("token_ids")
        if ids is not None:
            self.counted = "token_ids"
            self.token_ids.extend(ids)
            return len(ids)
        if self.counted == "token_ids":
            return 0
        if usage and usage.get("completion_tokens") is not None:
            produced, by = int(usage["completion_tokens"]), "usage"
        elif (timings := event.get("timings")) and timings.get("predicted_n") is not None:
            produced, by = int(timings["predicted_n"]), "timings"
        else:
            self._open = self._open or bool(_text_of(choice))
            return None
        self.counted = by
        new = produced - self._produced
        if new < 0 or produced > self._most:
            raise RequestFailedError(
                Label.BAD_USAGE, f"{by} went from {self._produced} to {produced} tokens"
            )
        self._produced = produced
        spans_chunks, self._open = self._open, False
        return None if spans_chunks else new

    def settle(self) -> None:
        """Close the books on a stream that ended well. Raises RequestFailedError where nothing
        says how many tokens came, or two things say so differently."""
        if self.prompt_tokens is None:
            raise RequestFailedError(
                Label.NO_USAGE, "the server does not say how many prompt tokens it counted"
            )
        if self._total == 1 and self.finish_reason and not self.chunk_times_s:
            # The end of text alone, which has none: it was there when it was said.
            self.chunk_times_s.append(self._finished_s)
            self.chunk_tokens.append(_UNKNOWN)
        known = sum(tokens for tokens in self.chunk_tokens if tokens != _UNKNOWN)
        unknown = self.chunk_tokens.count(_UNKNOWN)
        if self._total is None and (unknown or not self.counted):
            raise RequestFailedError(
                Label.NO_USAGE, "the server does not say how many tokens it produced"
            )
        total = known if self._total is None else self._total
        if not unknown and total != known:
            raise RequestFailedError(
                Label.BAD_USAGE, f"usage says {total} tokens, {self.counted} {known} in its chunks"
            )
        rest = total - known
        if rest < 0 or unknown > _MOST_CHUNKS_A_TOKEN * total:
            raise RequestFailedError(
                Label.BAD_USAGE,
                f"usage says {total} tokens, and {len(self.chunk_tokens)} chunks had text",
            )
        if not total:
            raise RequestFailedError(Label.NO_TOKENS, "the stream ended well without any token")
        if rest < unknown:
            self._thin(rest, unknown)
        elif unknown:
            self._spread(rest, unknown)

    def _spread(self, tokens: int, chunks: int) -> None:
        """Give every chunk of unknown size its even share. If there is one token for each, their
        sizes are known after all."""
        if tokens != chunks:
            self.counted = "total"
        elif not self.counted:
            self.counted = "usage"
        given = 0
        at = 0
        for place, held in enumerate(self.chunk_tokens):
            if held == _UNKNOWN:
                at += 1
                upto = tokens * at // chunks
                self.chunk_tokens[place] = upto - given
                given = upto

    def _thin(self, tokens: int, chunks: int) -> None:
        """Give fewer tokens than there are chunks of unknown size one of those each."""
        self.counted = "split"
        # One alone comes with the first: that is when it was there.
        last = max(tokens - 1, 1)
        holders = {(chunks - 1) * nth // last for nth in range(tokens)}
        at = 0
        times_s, held_tokens = self.chunk_times_s, self.chunk_tokens
        self.chunk_times_s, self.chunk_tokens = array("d"), array("i")
        for time_s, held in zip(times_s, held_tokens, strict=True):
            kept = held
            if held == _UNKNOWN:
                kept = int(at in holders)
                at += 1
            if kept:
                self.chunk_times_s.append(time_s)
                self.chunk_tokens.append(kept)

    def cut_short(self) -> None:
        """Close the books on a stream that did not end well: what its chunks held and is not known
        counts as a token each, which is the least it can have been."""
        for place, held in enumerate(self.chunk_tokens):
            if held == _UNKNOWN:
                self.counted = "total"
                self.chunk_tokens[place] = 1

    def token_times_s(self) -> array[float]:
        """When each token came: with its chunk."""
        times_s: array[float] = array("d")
        for time_s, tokens in zip(self.chunk_times_s, self.chunk_tokens, strict=True):
            for _ in range(tokens):
                times_s.append(time_s)
        return times_s


def _count(name: str, value: Any) -> int:
    """Of a prompt's tokens. Raises RequestFailedError for what nobody can have counted."""
    count = int(value)
    if not 0 <= count <= MOST_TOKENS:
        raise RequestFailedError(Label.BAD_USAGE, f"{name} is {count}")
    return count


def _text_of(choice: dict[str, Any]) -> object:
    """The text that a choice brings, whatever it is called: a reasoning model's thoughts and a
    call of a tool are tokens too. Falsy for a chat's first event, which only names a role."""
    if "text" in choice:
        return choice["text"]
    delta = choice.get("delta") or {}
    return (
        delta.get("content")
        or delta.get("reasoning_content")
        or delta.get("reasoning")
        or delta.get("tool_calls")
    )
