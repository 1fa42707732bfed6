"""When an output ends: end of text, stop tokens, stop strings, its length.

The engine knows token ids. Stop strings are text, so `TextTail` turns ids into just enough of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .api import FinishReason, SamplingParams

Decode = Callable[[Sequence[int]], str]
"""Token ids to text, special tokens left out, as `Tokenizer.decode` does."""

# What a decoder writes for bytes that are no character, or not one yet.
REPLACEMENT = "\ufffd"


def finish_reason(
    sampling: SamplingParams,
    token_id: int,
    output_tokens: int,
    eos_token_ids: Collection[int],
    *,
    stop_string: bool = False,
) -> FinishReason | None:
    """Why an output ends with its newest token, or None where it goes on.

    output_tokens: how many it has, the newest included. stop_string: whether the newest token
    completed one of `sampling.stop`. An output that stops where its length ends has stopped.
    """
    if token_id in sampling.stop_token_ids or stop_string:
        return FinishReason.STOP
    if token_id in eos_token_ids and not sampling.ignore_eos:
        return FinishReason.STOP
    if output_tokens >= sampling.max_tokens:
        return FinishReason.LENGTH
    return None


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first place where a stop string begins."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text


class TextTail:
    """The end of one output's text, as far back as a stop string can reach.

    A token need not be a character: it may be a part of one, or several, and what it decodes to
    may depend on the token before it (a leading space). So new tokens are decoded together with
    the last ones that are settled, and what is longer than those decode to alone is their text.
    Bytes that do not make a character yet are held back until they do; a stop string before them
    is found at once.
    """

    def __init__(self, stop: Sequence[str], decode: Decode) -> None:
        self._stop = tuple(stop)
        self._decode = decode
        # Of a stop string that is not complete, at most all but one character has been seen.
        self._reach = max(map(len, self._stop)) - 1
        self._settled: list[int] = []
        self._settled_text = ""
        self._new: list[int] = []
        self._tail = ""

    def anew(self) -> TextTail:
        """One for another sample of the same request, whose output is empty."""
        return TextTail(self._stop, self._decode)

    def push(self, token_id: int) -> bool:
        """Add a token. Whether the text now holds a stop string that it did not hold before."""
        self._new.append(token_id)
        text = self._decode(self._settled + self._new)
        fresh = text[len(self._settled_text) :]
        seen = self._tail + fresh.rstrip(REPLACEMENT)
        if not fresh:
            # A special token leaves no trace. What does not show at the very start may: decoders
            # drop the first space of a text.
            if self._settled:
                self._new.clear()
        elif not fresh.endswith(REPLACEMENT):
            self._settle()
            self._tail = seen[max(0, len(seen) - self._reach) :]
        return any(string in seen for string in self._stop)

    def _settle(self) -> None:
        """The new tokens end with a whole character: they are what the next are decoded after."""
        self._settled = self._new
        self._settled_text = self._decode(self._settled)
        self._new = []
