"""What the policies read and change: live requests and the two queues they stand in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .api import Request


@dataclass(eq=False)
class RequestState:
    """A live request. Compared by identity: two requests are never the same one.

    token_ids: every known token, prompt first, then what was generated.
    computed_tokens: how many of them have keys and values in the KV cache.
    most_computed_tokens: the largest computed_tokens ever reached; a preemption loses the
    difference and it is paid for again.
    """

    request: Request
    token_ids: list[int] = field(default_factory=list)
    computed_tokens: int = 0
    most_computed_tokens: int = 0
    preemptions: int = 0

    def __post_init__(self) -> None:
        if not self.token_ids:
            self.token_ids = list(self.request.prompt_token_ids)

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def prompt_tokens(self) -> int:
        return len(self.request.prompt_token_ids)

    @property
    def known_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def output_tokens(self) -> int:
        return len(self.token_ids) - len(self.request.prompt_token_ids)

    @property
    def full_tokens(self) -> int:
        """Prompt and the longest output asked for: what a reservation to completion must hold."""
        return len(self.request.prompt_token_ids) + self.request.sampling.max_tokens

    @property
    def uncomputed_tokens(self) -> int:
        return len(self.token_ids) - self.computed_tokens

    @property
    def is_decoding(self) -> bool:
        """All but the newest known token is cached, and the prompt is done."""
        return self.uncomputed_tokens == 1 and self.output_tokens > 0


@dataclass
class Queues:
    """Who waits and who runs, each oldest first.

    last_prompt_step_s: duration of the latest step that computed a prompt; what
    `separate`'s delay factor is measured in.
    """

    waiting: deque[RequestState] = field(default_factory=deque)
    running: list[RequestState] = field(default_factory=list)
    last_prompt_step_s: float = 0.0

    def start(self, request: RequestState) -> None:
        """The head of the waiting queue begins to run."""
        head = self.waiting.popleft()
        if head is not request:
            raise RuntimeError(f"{request.request_id} is not the head of the waiting queue")
        self.running.append(request)

    def preempt(self, request: RequestState) -> None:
        """Back to the front of the waiting queue; its cache is lost and is to be recomputed.

        Preempting from the last in line backwards leaves the oldest in front.
        """
        self.running.remove(request)
        request.computed_tokens = 0
        request.preemptions += 1
        self.waiting.appendleft(request)
