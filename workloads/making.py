"""Prompts while they are made: how far they are, and no more of them than a machine holds."""

from __future__ import annotations

from .api import Told, WorkloadError
from .spec.bounds import MOST_PROMPT_TOKENS

# Told of after so many, or after so many tokens where prompts are long.
_EVERY = 1024
_EVERY_TOKENS = 1 << 22


class Making:
    """Counts requests and their prompts' tokens as they are made."""

    def __init__(self, told: Told | None, num_requests: int | None) -> None:
        self._told = told
        self._of = num_requests or 0
        self._requests = self._tokens = 0
        self._next_tokens = _EVERY_TOKENS

    def expect(self, tokens: int) -> None:
        """What prompts will come to. Raises WorkloadError, before any is made, for too much."""
        if tokens > MOST_PROMPT_TOKENS:
            raise WorkloadError(
                "lengths",
                None,
                f"at most {MOST_PROMPT_TOKENS:,}: fewer requests, or --max-input-len",
                f"come to {tokens:,} prompt tokens in all",
            )

    def add(self, tokens: int) -> None:
        """One request more. Raises WorkloadError: that is too much."""
        self._requests += 1
        self._tokens += tokens
        self.expect(self._tokens)
        if self._told is None:
            return
        if self._requests % _EVERY == 0 or self._tokens >= self._next_tokens:
            self._next_tokens = self._tokens + _EVERY_TOKENS
            self._told("making prompts", self._requests, max(self._of, self._requests))
