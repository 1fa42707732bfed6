"""Token ids to text as they come: never half a character, never a part of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from ...engines.stopping import REPLACEMENT, Decode, cut_at_stop

# Past tokens that a new one is decoded after: a decoder may look at them (a leading space).
CONTEXT_TOKENS = 4
# A window is decoded whole for each token; longer than this it goes on with its last tokens alone.
WINDOW_TOKENS = 16
# A character has at most four bytes, so that at most three are a part of one. What is no character
# after these many tokens never will be, but for the last of them.
CHARACTER_BYTES, HELD_TOKENS = 4, 8


class TextStream:
    """The text of one output, handed out in parts that join to `decode` of all its tokens.

    Each token is decoded in a window with those before it, and its text is what the window gained.
    A window that ends in U+FFFD ends inside a character: its new part is held back until the
    character is whole or the output ends. So is an end that may begin a stop string.
    """

    def __init__(self, decode: Decode, stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._window: list[int] = []
        # Of the window's tokens, those whose text was taken, and how many characters that is.
        self._taken_tokens = 0
        self._taken_chars = 0
        # Text that is whole but may begin a stop string.
        self._doubtful = ""
        self._stopped = False
        # Characters that are whole, those that are held back included.
        self.length = 0

    def push(self, token_id: int) -> str:
        """Add a token. Returns what can be shown now; empty if nothing can."""
        if self._stopped:
            return ""
        self._window.append(token_id)
        text = self._decode(self._window)
        if text.endswith(REPLACEMENT):
            if len(self._window) - self._taken_tokens < HELD_TOKENS:
                return ""
            return self._before_stop(self._give_up(text))
        fresh = text[self._taken_chars :]
        self._take(text)
        return self._before_stop(fresh)

    def end(self) -> str:
        """The rest, when no more tokens come."""
        if self._stopped:
            return ""
        rest = self._decode(self._window)[self._taken_chars :] if self._window else ""
        shown = self._doubtful + rest
        self._doubtful, self._stopped = "", True
        return cut_at_stop(shown, self._stop)

    def _give_up(self, text: str) -> str:
        """What was held as part of a character, but for one that the last tokens may begin: alone
        they decode to what is whole of them, and one mark for all that is cut off."""
        begun = len(self._window)
        for start in range(begun - 1, max(0, len(self._window) - CHARACTER_BYTES), -1):
            last = self._decode(self._window[start:])
            if last.endswith(REPLACEMENT) and last.count(REPLACEMENT) == 1:
                begun = start
        if begun < len(self._window):
            text = self._decode(self._window[:begun])
        fresh = text[self._taken_chars :]
        self._window, self._taken_tokens, self._taken_chars = self._window[begun:], 0, 0
        return fresh

    def _take(self, text: str) -> None:
        if text and len(text) == self._taken_chars:
            # A special token leaves no trace.
            del self._window[self._taken_tokens :]
        self._taken_tokens, self._taken_chars = len(self._window), len(text)
        if len(self._window) > WINDOW_TOKENS:
            self._shorten(text)

    def _shorten(self, text: str) -> None:
        """Go on with as few of the last tokens as decode to an end of `text`: where bytes stand for
        characters, tokens from within one on decode to marks, and so would all that follows."""
        for kept in range(CONTEXT_TOKENS, len(self._window)):
            end = self._decode(self._window[-kept:])
            # Special tokens alone are no context to decode after.
            if text.endswith(end) and bool(end) == bool(text):
                self._window = self._window[-kept:]
                self._taken_tokens, self._taken_chars = kept, len(end)
                return

    def _before_stop(self, fresh: str) -> str:
        """Of text that came, what is surely before every stop string."""
        self.length += len(fresh)
        if not self._stop:
            return fresh
        text = self._doubtful + fresh
        cut = cut_at_stop(text, self._stop)
        if len(cut) < len(text):
            self._stopped, self._doubtful = True, ""
            return cut
        kept = max(_begun(text, stop) for stop in self._stop)
        self._doubtful = text[len(text) - kept :]
        return text[: len(text) - kept]


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
