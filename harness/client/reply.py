"""One reply as it comes in: when its chunks came, and how many tokens each held.

A chunk is not a token: a server may hold tokens back and send several at once, or send none. What
counts is what the server says it has produced, or the ids it returns; text is never tokenised
again. Where no count is of a chunk alone, as that of the whole reply at its end, chunks share
tokens (`shares.py`), and `counted` says so: such a reply has no gaps between tokens, only between
chunks. Nor is a token a chunk: what parses thoughts or calls of tools may send one in two. The
chunks without one are not kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Literal

from .errors import Label, RequestFailedError
from .shares import UNCOUNTED, spread
from .usage import MOST_TOKENS, Usage, count_of

Counted = Literal["", "usage", "timings", "token_ids", "total", "split"]
"""By what the tokens of each chunk are known; `total`: only their sum is; `split`: likewise, and
more chunks had text than there were tokens."""

_MOST_TIMES_ASKED, _LEAST_BOUND = 16, 4096
# A token is some four characters: one in more chunks than that several times over is none.
_MOST_CHUNKS_A_TOKEN = 16
_LONGEST_REASON = 40
# What a delta calls its text: a reasoning model's thoughts and a call of a tool are tokens too.
_THOUGHTS = ("reasoning_content", "reasoning")
_TEXTS = ("content", *_THOUGHTS, "tool_calls", "refusal", "function_call")


def most_tokens(asked_tokens: int) -> int:
    """What a reply may say that it has, of one that was asked for so many."""
    return min(max(_MOST_TIMES_ASKED * asked_tokens, _LEAST_BOUND), MOST_TOKENS)


class Reply:
    """Fills as events come.

    chunk_times_s: when each event with text or tokens arrived. chunk_tokens: beside it.
    usage: what the server counted. most: tokens that nothing more is believed than. finish_reason:
    as the server says; empty: it does not. hidden_tokens: thoughts that were counted and not sent.
    """

    __slots__ = (
        "_finished_s",
        "_most",
        "_open",
        "_produced",
        "_thinks_aloud",
        "chunk_times_s",
        "chunk_tokens",
        "counted",
        "finish_reason",
        "hidden_tokens",
        "token_ids",
        "usage",
    )

    def __init__(self, most: int = MOST_TOKENS) -> None:
        self._most = most
        # Whether text has come since the last count.
        self._open = False
        self.chunk_times_s: array[float] = array("d")
        self.chunk_tokens: array[int] = array("i")
        self.token_ids: array[int] = array("q")
        self.usage = Usage(most)
        self.counted: Counted = ""
        self.finish_reason = ""
        self._finished_s = 0.0
        self._produced = 0
        self._thinks_aloud = False
        self.hidden_tokens = 0

    def note(self, event: dict[str, Any], time_s: float) -> None:
        """One event that arrived at time_s. Raises RequestFailedError for one that says the server
        failed, or contradicts what it said before."""
        # Some frames have the field in every event, and null in it.
        error = event.get("error")
        if error is None and event.get("object") == "error":
            error = event.get("message", event)
        if error is not None:
            raise RequestFailedError(Label.SERVER_ERROR, str(error))
        try:
            self._note(event, time_s)
        except (AttributeError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise RequestFailedError(
                Label.MALFORMED_SSE, f"not an event of this API ({error}): {event}"
            ) from error

    def _note(self, event: dict[str, Any], time_s: float) -> None:
        usage = event.get("usage")
        if usage:
            self.usage.note(usage)
        choices = event.get("choices")
        if not choices:
            return
        choice = choices[0]
        if reason := choice.get("finish_reason"):
            self.finish_reason, self._finished_s = str(reason)[:_LONGEST_REASON], time_s
            if reason == "error":
                raise RequestFailedError(Label.SERVER_ERROR, f"finish_reason error: {choice}")
        text = _text_of(choice)
        tokens = self._tokens_of(event, usage, choice, has_text=bool(text))
        if tokens or text:
            self.chunk_times_s.append(time_s)
            self.chunk_tokens.append(UNCOUNTED if tokens is None else tokens)
            self._thinks_aloud = self._thinks_aloud or text in _THOUGHTS

    def _tokens_of(
        self,
        event: dict[str, Any],
        usage: dict[str, Any] | None,
        choice: dict[str, Any],
        *,
        has_text: bool,
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
            produced, by = self.usage.completion_tokens or 0, "usage"
        elif (timings := event.get("timings")) and timings.get("predicted_n") is not None:
            produced, by = count_of("predicted_n", timings["predicted_n"], self._most), "timings"
        else:
            self._open = self._open or has_text
            return None
        self.counted = by
        new = produced - self._produced
        if new < 0:
            raise RequestFailedError(
                Label.BAD_USAGE, f"{by} went from {self._produced} to {produced} tokens"
            )
        self._produced = produced
        if has_text and not produced:
            # Text is of tokens: this count is behind it, as one that is told only at the end.
            self._open = True
            return None
        spans_chunks, self._open = self._open, False
        return None if spans_chunks else new

    def settle(self) -> None:
        """Close the books on a stream that ended well. Raises RequestFailedError where nothing
        says how many tokens came, or two things say so differently."""
        if self.usage.prompt_tokens is None:
            raise RequestFailedError(
                Label.NO_USAGE, "the server does not say how many prompt tokens it counted"
            )
        said, thoughts = self.usage.completion_tokens, self.usage.thought_tokens
        if said and thoughts and not self.chunk_times_s:
            raise RequestFailedError(
                Label.NO_TOKENS, f"no text came of {said} tokens, {thoughts} of them thoughts"
            )
        if said == 1 and self.finish_reason and not self.chunk_times_s:
            # The end of text alone, which has none: it was there when it was said.
            self.chunk_times_s.append(self._finished_s)
            self.chunk_tokens.append(UNCOUNTED)
        known = sum(tokens for tokens in self.chunk_tokens if tokens != UNCOUNTED)
        unknown = self.chunk_tokens.count(UNCOUNTED)
        if said is None and (unknown or not self.counted):
            raise RequestFailedError(
                Label.NO_USAGE, "the server does not say how many tokens it produced"
            )
        total = known if said is None else said
        if not unknown and total != known:
            told = f"{self.counted} {known}" if self.counted else "nothing"
            raise RequestFailedError(
                Label.BAD_USAGE, f"usage says {total} tokens, {told} in its chunks"
            )
        rest = total - known
        if rest < 0 or unknown > _MOST_CHUNKS_A_TOKEN * total:
            raise RequestFailedError(
                Label.BAD_USAGE,
                f"usage says {total} tokens, and {len(self.chunk_tokens)} chunks had text",
            )
        if not total:
            raise RequestFailedError(Label.NO_TOKENS, "the stream ended well without any token")
        self.hidden_tokens = self._hidden(rest - unknown)
        if self.hidden_tokens or unknown or 0 in self.chunk_tokens:
            self._share(rest)

    def _hidden(self, spare: int) -> int:
        """Thoughts that no chunk showed: the first one came after them. spare: tokens beyond one
        for each chunk without a count; what is counted of too many has been shown."""
        first = self.chunk_tokens[0]
        most = spare if first == UNCOUNTED else first - 1
        thoughts = self.usage.thought_tokens
        return 0 if self._thinks_aloud or thoughts > most else thoughts

    def _share(self, rest: int) -> None:
        """Give tokens to chunks that nothing tells them of, and keep those that have any. rest: of
        those without a count."""
        counted = list(self.chunk_tokens)
        if counted[0] == UNCOUNTED:
            rest -= self.hidden_tokens
        else:
            counted[0] -= self.hidden_tokens
        held, unknown = spread(counted, rest)
        idle, is_split = held.count(0), 0 < rest < counted.count(UNCOUNTED)
        if idle > len(held) - idle and not is_split:
            raise RequestFailedError(
                Label.BAD_USAGE,
                f"{self.counted} says {sum(held)} tokens, and {idle} of {len(held)} chunks with "
                "text had no new one",
            )
        held[0] += self.hidden_tokens
        self.counted = unknown or ("total" if self.hidden_tokens else self.counted or "usage")
        self._keep(held)

    def _keep(self, held: Sequence[int]) -> None:
        """The chunks that have a token. held: by each."""
        times_s = self.chunk_times_s
        self.chunk_times_s, self.chunk_tokens = array("d"), array("i")
        for time_s, tokens in zip(times_s, held, strict=True):
            if tokens:
                self.chunk_times_s.append(time_s)
                self.chunk_tokens.append(tokens)

    def cut_short(self) -> None:
        """Close the books on a stream that did not end well: what its chunks held and is not known
        counts as a token each, which is the least it can have been."""
        if UNCOUNTED in self.chunk_tokens:
            self.counted = "total"
        self._keep([1 if held == UNCOUNTED else held for held in self.chunk_tokens])

    def token_times_s(self) -> array[float]:
        """When each token came: with its chunk."""
        times_s: array[float] = array("d")
        for time_s, tokens in zip(self.chunk_times_s, self.chunk_tokens, strict=True):
            for _ in range(tokens):
                times_s.append(time_s)
        return times_s


def _text_of(choice: dict[str, Any]) -> str:
    """Which of its fields has the text that a choice brings; empty for none, as in a chat's first
    event, which only names a role."""
    if choice.get("text"):
        return "text"
    # Some gateways send both, and leave one of them empty.
    if delta := choice.get("delta"):
        for name in _TEXTS:
            if delta.get(name):
                return name
    return ""
