"""What a server's `usage` says of one request: as often as it comes, and checked.

Source: https://platform.openai.com/docs/api-reference/chat/streaming. Some gateways count thoughts
(`reasoning_tokens`) beside `completion_tokens` and not among them; their `total_tokens` shows it.
"""

from __future__ import annotations

from typing import Any

from .errors import Label, RequestFailedError

# No model writes more, and no server many times what it was asked for; one that says so would fill
# the memory with times.
MOST_TOKENS = 2**24


class Usage:
    """The latest of each number; None: the server does not say.

    prompt_tokens, and cached_tokens of them. completion_tokens, and thought_tokens of them: 0 where
    it does not say.
    """

    __slots__ = ("_most", "cached_tokens", "completion_tokens", "prompt_tokens", "thought_tokens")

    def __init__(self, most: int) -> None:
        """most: completion tokens that nothing more is believed than."""
        self._most = most
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.thought_tokens = 0

    def note(self, usage: dict[str, Any]) -> None:
        """Raises RequestFailedError for what cannot have been counted, or contradicts what was said
        before."""
        if (prompt := usage.get("prompt_tokens")) is not None:
            self.prompt_tokens = count_of("prompt_tokens", prompt)
        if (completion := usage.get("completion_tokens")) is not None:
            total = count_of("completion_tokens", completion, self._most)
            if total < (self.completion_tokens or 0):
                raise RequestFailedError(
                    Label.BAD_USAGE,
                    f"completion_tokens went from {self.completion_tokens} to {total}",
                )
            self.completion_tokens = total
        details = usage.get("prompt_tokens_details")
        if details and (cached := details.get("cached_tokens")) is not None:
            self.cached_tokens = count_of("cached_tokens", cached)
        details = usage.get("completion_tokens_details")
        if details and (thoughts := details.get("reasoning_tokens")) is not None:
            thoughts = count_of("reasoning_tokens", thoughts)
            both = (self.prompt_tokens or 0) + (self.completion_tokens or 0)
            is_beside = thoughts and usage.get("total_tokens") == both + thoughts
            self.thought_tokens = 0 if is_beside else thoughts


def count_of(name: str, value: Any, most: int = MOST_TOKENS) -> int:
    """Tokens, as a server counted them. Raises RequestFailedError for what nobody can have counted:
    no whole number, or out of bounds."""
    if type(value) is int and 0 <= value <= most:
        return value
    count = int(value)
    if isinstance(value, bool) or count != float(value) or not 0 <= count <= most:
        raise RequestFailedError(Label.BAD_USAGE, f"{name} is {value}; allowed: 0 to {most}")
    return count
