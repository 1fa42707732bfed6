"""What the policies read and change: live sequences and the queues they stand in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .api import Request
from .stopping import TextTail

PLACEHOLDER = -1  # in the place of a token that is known to come and not yet which


class RequestState:
    """One live sequence of a request. Compared by identity: two are never the same one.

    A request that asks for n samples is one sequence until its prompt is computed and n of them
    afterwards; `samples` counts the sequences this one still stands for.

    request_id: the request's own for choice 0, `id#1`, `id#2`, … for the others.
    prompt_tokens, known_tokens: the prompt; the prompt and what was generated.
    computed_tokens: how many known tokens have keys and values in the KV cache.
    most_computed_tokens: the largest computed_tokens ever reached; a preemption loses the
    difference and it is paid for again.
    context_tokens: what is computed before the sequence decodes: the prompt, and after a
    preemption by recompute all it knew then.
    rank: its place in every queue, priority first (lower goes first), then the order of coming.
    full_tokens: prompt and the longest output asked for: what a reservation to completion holds.
    hit_tokens: tokens just taken from the prefix cache that this sequence has never computed.
    awaited_row: while its newest known token is still being computed (`pipeline.py`): which of
    that step's samples it will be; until then the token's value is PLACEHOLDER.
    may_stop: whether anything but its length may end it. text_tail: watches for stop strings,
    where the request has any.
    block_hashes, published_blocks: the paged cache's own notes, see `kv/prefix.py`.
    """

    __slots__ = (
        "awaited_row",
        "block_hashes",
        "choice",
        "computed_tokens",
        "context_tokens",
        "full_tokens",
        "hit_tokens",
        "known_tokens",
        "may_stop",
        "most_computed_tokens",
        "output_ids",
        "prompt_tokens",
        "published_blocks",
        "rank",
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
        self.context_tokens = self.prompt_tokens
        self.rank: tuple[int, int] = (request.priority, 0)
        self.computed_tokens = 0
        self.most_computed_tokens = 0
        self.output_ids: list[int] = []
        self.awaited_row: int | None = None
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
    def valued_tokens(self) -> int:
        """Known tokens whose value is known, too: all, or all but the newest."""
        return self.known_tokens - (self.awaited_row is not None)

    @property
    def output_tokens(self) -> int:
        return self.known_tokens - self.prompt_tokens

    @property
    def uncomputed_tokens(self) -> int:
        return self.known_tokens - self.computed_tokens

    @property
    def is_decoding(self) -> bool:
        """The context is done: all but the newest known token is cached."""
        return self.computed_tokens >= self.context_tokens

    def append(self, token_id: int) -> None:
        self.output_ids.append(token_id)
        self.known_tokens += 1

    def fork(self, choice: int) -> RequestState:
        """Another sample of the same request, with the same prompt computed and no output yet."""
        child = RequestState(self.request, self.text_tail and self.text_tail.anew())
        child.choice = choice
        child.request_id = f"{self.request_id}#{choice}"
        child.rank = self.rank
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

    Each stands in order of rank: of priority, then of coming. So whoever is preempted goes back in
    front of all that came later, and the last of the running is the one to make room.
    last_prompt_step_s: duration of the latest step that computed a prompt; what
    `separate`'s delay factor is measured in.
    """

    waiting: deque[RequestState] = field(default_factory=deque)
    running: list[RequestState] = field(default_factory=list)
    swapped: deque[RequestState] = field(default_factory=deque)
    last_prompt_step_s: float = 0.0
    unforked: int = 0
    """Seats kept for samples of running requests whose prompt is not done."""
    came: int = 0
    """Requests that ever came."""

    @property
    def seats(self) -> int:
        """Sequences that run, or will once their prompt is done: what `max_num_seqs` bounds."""
        return len(self.running) + self.unforked

    def view(self) -> QueueView:
        return QueueView(tuple(self.waiting), tuple(self.running), tuple(self.swapped))

    def add(self, request: RequestState) -> None:
        """Behind everybody of its priority."""
        request.rank = (request.request.priority, self.came)
        self.came += 1
        _insert_behind(self.waiting, request)

    def start(self, request: RequestState) -> None:
        """It waits, mostly as the first, and begins to run."""
        self.waiting.remove(request)
        _insert_behind(self.running, request)
        self.unforked += request.samples - 1

    def preempt(self, request: RequestState) -> None:
        """Back into the waiting queue; its cache is lost and what it knows becomes its context.
        Samples of one request keep their order if the last is preempted first."""
        self._stop(request)
        request.computed_tokens = 0
        request.context_tokens = request.known_tokens
        _insert_before(self.waiting, request)

    def swap_out(self, request: RequestState) -> None:
        """Out of the running; what it had computed is kept on the host. Samples as in `preempt`."""
        self._stop(request)
        _insert_before(self.swapped, request)

    def swap_in(self, request: RequestState) -> None:
        self.swapped.remove(request)
        _insert_behind(self.running, request)

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

    def _stop(self, request: RequestState) -> None:
        self.running.remove(request)
        self.unforked -= request.samples - 1


def _insert_behind(line: MutableSequence[RequestState], request: RequestState) -> None:
    """Into a line in order of rank, behind its equals; looked for from the end."""
    place = len(line)
    while place and line[place - 1].rank > request.rank:
        place -= 1
    line.insert(place, request)


def _insert_before(line: MutableSequence[RequestState], request: RequestState) -> None:
    """Into a line in order of rank, in front of its equals; looked for from the front."""
    place = 0
    while place < len(line) and line[place].rank < request.rank:
        place += 1
    line.insert(place, request)


def split_running(
    line: Iterable[RequestState],
) -> tuple[list[RequestState], list[RequestState]]:
    """Those who decode, and those whose context is not done, in order."""
    decoding: list[RequestState] = []
    contexts: list[RequestState] = []
    for request in line:
        done = request.computed_tokens >= request.context_tokens
        (decoding if done else contexts).append(request)
    return decoding, contexts


def last_group(
    line: Sequence[RequestState], group_of: Callable[[RequestState], object]
) -> list[RequestState]:
    """Those at the end of a line, which is not empty, of whom `group_of` says the same."""
    first = len(line) - 1
    while first and group_of(line[first - 1]) is group_of(line[first]):
        first -= 1
    return list(line[first:])
