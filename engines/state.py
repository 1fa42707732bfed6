"""What the policies read and change: live sequences and the queues they stand in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .api import Request
from .stopping import TextTail


class RequestState:
    """One live sequence of a request. Compared by identity: two are never the same one.

    A request that asks for n samples is one sequence until its prompt is computed and n of them
    afterwards; `samples` counts the sequences this one still stands for.

    request_id: the request's own for choice 0, `id#1`, `id#2`, … for the others.
    prompt_tokens, known_tokens: the prompt; the prompt and what was generated.
    computed_tokens: how many known tokens have keys and values in the KV cache.
    most_computed_tokens: the largest computed_tokens ever reached; a preemption loses the
    difference and it is paid for again.
    full_tokens: prompt and the longest output asked for: what a reservation to completion holds.
    hit_tokens: tokens just taken from the prefix cache that this sequence has never computed.
    may_stop: whether anything but its length may end it. text_tail: watches for stop strings,
    where the request has any.
    block_hashes, published_blocks: the paged cache's own notes, see `kv/prefix.py`.
    """

    __slots__ = (
        "block_hashes",
        "choice",
        "computed_tokens",
        "full_tokens",
        "hit_tokens",
        "known_tokens",
        "may_stop",
        "most_computed_tokens",
        "output_ids",
        "preemptions",
        "prompt_tokens",
        "published_blocks",
        "request",
        "request_id",
        "samples",
        "text_tail",
    )

    def __init__(self, request: Request, text_tail: TextTail | None = None) -> None:
        sampling = request.sampling
        self.request = request
        self.choice = 0
        self.request_id = request.request_id
        self.prompt_tokens = self.known_tokens = len(request.prompt_token_ids)
        self.full_tokens = self.prompt_tokens + sampling.max_tokens
        self.computed_tokens = 0
        self.most_computed_tokens = 0
        self.output_ids: list[int] = []
        self.preemptions = 0
        self.samples = sampling.n
        self.hit_tokens = 0
        self.block_hashes: list[bytes] = []
        self.published_blocks = 0
        self.text_tail = text_tail
        self.may_stop = bool(sampling.stop or sampling.stop_token_ids or not sampling.ignore_eos)

    @property
    def token_ids(self) -> list[int]:
        """Every known token."""
        return self.tokens(0, self.known_tokens)

    def tokens(self, start: int, end: int) -> list[int]:
        """Known tokens [start, end)."""
        prompt = self.prompt_tokens
        if start >= prompt:
            return self.output_ids[start - prompt : end - prompt]
        return [*self.request.prompt_token_ids[start:end], *self.output_ids[: max(0, end - prompt)]]

    @property
    def output_tokens(self) -> int:
        return self.known_tokens - self.prompt_tokens

    @property
    def uncomputed_tokens(self) -> int:
        return self.known_tokens - self.computed_tokens

    @property
    def is_decoding(self) -> bool:
        """All but the newest known token is cached, and the prompt is done."""
        return (
            self.known_tokens - self.computed_tokens == 1 and self.known_tokens > self.prompt_tokens
        )

    def append(self, token_id: int) -> None:
        self.output_ids.append(token_id)
        self.known_tokens += 1

    def fork(self, choice: int) -> RequestState:
        """Another sample of the same request, with the same prompt computed and no output yet."""
        child = RequestState(self.request, self.text_tail and self.text_tail.anew())
        child.choice = choice
        child.request_id = f"{self.request_id}#{choice}"
        child.computed_tokens = self.computed_tokens
        child.most_computed_tokens = self.computed_tokens
        child.samples = 1
        child.block_hashes = list(self.block_hashes)
        child.published_blocks = self.published_blocks
        return child

    def __repr__(self) -> str:
        return f"RequestState({self.request_id}, {self.computed_tokens} of {self.known_tokens})"


class QueueView(NamedTuple):
    """The queues as they stood at one moment, each in its own order."""

    waiting: tuple[RequestState, ...]
    running: tuple[RequestState, ...]
    swapped: tuple[RequestState, ...]


@dataclass
class Queues:
    """Who waits, who runs and who is swapped out to the host.

    waiting: in order of priority (lower first), then of coming; a preempted sequence stands in
    front of its priority. running, swapped: in the order of starting.
    last_prompt_step_s: duration of the latest step that computed a prompt; what
    `separate`'s delay factor is measured in.
    """

    waiting: deque[RequestState] = field(default_factory=deque)
    running: list[RequestState] = field(default_factory=list)
    swapped: deque[RequestState] = field(default_factory=deque)
    last_prompt_step_s: float = 0.0
    unforked: int = 0
    """Seats kept for samples of running requests whose prompt is not done."""

    @property
    def seats(self) -> int:
        """Sequences that run, or will once their prompt is done: what `max_num_seqs` bounds."""
        return len(self.running) + self.unforked

    def view(self) -> QueueView:
        return QueueView(tuple(self.waiting), tuple(self.running), tuple(self.swapped))

    def add(self, request: RequestState) -> None:
        """Behind everybody of its priority."""
        priority = request.request.priority
        place = len(self.waiting)
        while place and self.waiting[place - 1].request.priority > priority:
            place -= 1
        self.waiting.insert(place, request)

    def start(self, request: RequestState) -> None:
        """The head of the waiting queue begins to run."""
        head = self.waiting.popleft()
        if head is not request:
            raise RuntimeError(f"{request.request_id} is not the head of the waiting queue")
        self._run(request)

    def take_from_waiting(self, request: RequestState) -> None:
        """A waiting sequence that is not the head begins to run."""
        self.waiting.remove(request)
        self._run(request)

    def preempt(self, request: RequestState) -> None:
        """Back to the front of its priority in the waiting queue; its cache is lost and is to be
        recomputed. Preempting from the last in line backwards leaves the oldest in front."""
        self._stop(request)
        request.computed_tokens = 0
        priority = request.request.priority
        place = 0
        while place < len(self.waiting) and self.waiting[place].request.priority < priority:
            place += 1
        self.waiting.insert(place, request)

    def swap_out(self, request: RequestState) -> None:
        """Out of the running; what it had computed is kept on the host."""
        self._stop(request)
        self.swapped.append(request)

    def swap_in(self, request: RequestState) -> None:
        self.swapped.remove(request)
        self.running.append(request)

    def fork(self, parent: RequestState, children: Iterable[RequestState]) -> None:
        """The samples of a request whose prompt is done run beside it, right behind it."""
        born = list(children)
        at = self.running.index(parent) + 1
        self.running[at:at] = born
        self.unforked -= len(born)

    def remove(self, request: RequestState) -> None:
        """Wherever it stands. Raises ValueError if it stands nowhere."""
        if request in self.running:
            self.running.remove(request)
            self.unforked -= request.samples - 1
        elif request in self.swapped:
            self.swapped.remove(request)
        else:
            self.waiting.remove(request)

    def _run(self, request: RequestState) -> None:
        self.running.append(request)
        self.unforked += request.samples - 1

    def _stop(self, request: RequestState) -> None:
        self.running.remove(request)
        self.unforked -= request.samples - 1
        request.preemptions += 1


def last_in_line(line: Sequence[RequestState]) -> RequestState:
    """Who makes room first: the last of the lowest priority. line: not empty."""
    victim = line[-1]
    for request in reversed(line):
        if request.request.priority > victim.request.priority:
            victim = request
    return victim


def same_request(first: RequestState, second: RequestState) -> bool:
    """Whether two sequences are samples of one request."""
    return first.request is second.request
