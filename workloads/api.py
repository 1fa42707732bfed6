"""All that the outside needs of a workload: the plan of a run, its limits, and its one error.

Imports nothing but the standard library, so a command line can catch `WorkloadError` cheaply.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spec import WorkloadSpec

_LONGEST_SHOWN_VALUE = 100
_BRIEF = Repr()
_BRIEF.maxlevel, _BRIEF.maxdict, _BRIEF.maxlist, _BRIEF.maxtuple = 4, 6, 6, 6
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60


# Told how far something is that may take long: what is done, how much of it, of how much.
Told = Callable[[str, int, int], None]


class WorkloadError(ValueError):
    """A workload that cannot be planned.

    `str()` is one line: ``field: 'value' problem; expected allowed``. A value of None, for what
    is missing or too large to show, is left out of it.
    """

    def __init__(
        self, field: str, value: object, allowed: str, problem: str = "is not allowed"
    ) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        shown = (
            "" if value is None else shown_value(str(value) if isinstance(value, Path) else value)
        )
        super().__init__(" ".join(f"{field}: {shown} {problem}; expected {allowed}".split()))


def shown_value(value: object, longest: int = _LONGEST_SHOWN_VALUE) -> str:
    """As Python writes it, cut short; lists within lists are never written out whole, for a file
    of a few lines can hold millions of them."""
    if isinstance(value, str):
        shown = repr(value[: longest + 1])
    elif isinstance(value, int) and value.bit_length() > 4 * longest:
        shown = "a number of more digits than can be shown"
    else:
        shown = _BRIEF.repr(value)
    return shown if len(shown) <= longest else shown[:longest] + "…"


@dataclass(frozen=True)
class RequestShape:
    """A request before it has words.

    t_due_s: seconds from the start of the run; None: due when a closed-loop slot frees.
    prefix_block_ids: names of the blocks of `prefix_block_tokens` tokens that the prompt begins
        with. Prompts whose lists begin with the same names begin with the same tokens; the last
        block may be cut short by the prompt's end.
    session: the conversation that the request belongs to, if any: its prompt begins with what the
        request before it in the same session said, and with that one's reply.
    think_s: of a later turn whose time depends on the turn before: seconds from that one's end.
        Its t_due_s is then None.
    samples: replies to the prompt.
    """

    t_due_s: float | None
    input_tokens: int
    output_tokens: int
    prefix_block_ids: tuple[int, ...] = ()
    prefix_block_tokens: int = 0
    session: str | None = None
    think_s: float | None = None
    samples: int = 1


@dataclass(frozen=True)
class TextEncoder:
    """How a model reads text, in process or asked of a server.

    encode: a text's token ids, with no special token put in front. decode: the way back.
    vocab_size: ids that the tokenizer gives are below it. prefix_ids: what stands in front of
        every prompt, such as (bos,). special_ids: ids that are no text.
    encode_chat: a chat's token ids through the model's own template, ready for the reply; None:
        the model has none.
    """

    encode: Callable[[str], Sequence[int]]
    decode: Callable[[Sequence[int]], str]
    vocab_size: int
    prefix_ids: tuple[int, ...] = ()
    special_ids: frozenset[int] = frozenset()
    encode_chat: Callable[[Sequence[Message]], Sequence[int]] | None = None


@dataclass(frozen=True)
class Message:
    """One message of a chat. role: system, user or assistant. name: whose it is, where several
    have one role."""

    role: str
    content: str
    name: str = ""

    @property
    def as_json(self) -> dict[str, str]:
        """As OpenAI's protocol and chat templates have it."""
        named = {"name": self.name} if self.name else {}
        return {"role": self.role, "content": self.content, **named}


@dataclass(frozen=True)
class PlannedRequest:
    """One request to send: exactly these prompt tokens, exactly `output_tokens` back, `samples`
    times.

    t_due_s: seconds from the start of the run; None: due when a slot of a closed loop frees or, of
        a later turn, `think_s` after request `after` has ended.
    after: the index of the turn before this one in a session; None: it waits for nobody.
    messages: the prompt as a chat, where it came as one; what a chat endpoint is sent.
    """

    index: int
    t_due_s: float | None
    prompt_token_ids: Sequence[int]
    output_tokens: int
    samples: int = 1
    after: int | None = None
    think_s: float = 0.0
    messages: tuple[Message, ...] = ()


LONGEST_CAP = 10**12  # no request is as long


@dataclass(frozen=True)
class LengthLimits:
    """The longest a request may be.

    max_input_tokens, max_output_tokens: what the user asked to clip to; None: no cap.
    max_total_tokens: the model's length, prompt and reply together.
    """

    max_input_tokens: int | None
    max_output_tokens: int | None
    max_total_tokens: int

    def __post_init__(self) -> None:
        for option, cap in (
            ("max_input_len", self.max_input_tokens),
            ("max_output_len", self.max_output_tokens),
        ):
            if cap is not None and not 1 <= cap <= LONGEST_CAP:
                raise WorkloadError(option, cap, f"1 to {LONGEST_CAP:,}")
        if self.max_total_tokens < 2:
            raise WorkloadError(
                "max_total_tokens", self.max_total_tokens, "at least 2: one token in, one out"
            )


@dataclass(frozen=True)
class Plan:
    """Everything a run will send.

    requests: sessions in order of their begin, the turns of one after each other; all due times
        are None in a closed loop.
    max_concurrency: at most this many requests in flight. In a closed loop this is the load; with
        due times it is a cap, and a request held back by it is still late from its due time.
    adjustments: what was scaled, clipped or replaced, in words, for the result and the report.
    description: JSON-able: name, description, source, arrivals, lengths, prompts, sessions, fit,
        seed, num_requests, num_sessions, request_rate_per_s (asked for), offered_rate_per_s (what
        these due times come to), gap_cv, and input_tokens and output_tokens as {mean, p50, p90,
        p99, min, max}. Where turns wait for replies, session_rate_per_s and
        offered_session_rate_per_s in place of the two rates, which are then None: sessions are
        what arrives. All are None in a closed loop and when everything is due at once.
    """

    requests: tuple[PlannedRequest, ...]
    max_concurrency: int | None
    adjustments: tuple[str, ...] = ()
    description: dict[str, object] = field(default_factory=dict)

    def fingerprint(self, told: Told | None = None) -> str:
        """SHA-256, in hex, of all that reaches an engine: due times, tokens, concurrency, and
        where there are any, who waits for whom and the messages of chats.

        Two runs with one fingerprint were sent the same requests at the same times. What the
        workload is called does not enter.
        """
        digest = hashlib.sha256(b"llmbench plan 2\n")
        digest.update(struct.pack("<q", self.max_concurrency or 0))
        for done, request in enumerate(self.requests):
            if told is not None and done % 1024 == 0:
                told("taking the fingerprint", done, len(self.requests))
            due_s = float("nan") if request.t_due_s is None else request.t_due_s
            prompt = request.prompt_token_ids
            shape = (request.output_tokens, request.samples, len(prompt))
            digest.update(struct.pack("<dqqq", due_s, *shape))
            digest.update(struct.pack(f"<{len(prompt)}q", *prompt))
        for request in self.requests:
            if request.after is not None:
                turn = struct.pack("<qqd", request.index, request.after, request.think_s)
                digest.update(b"turn" + turn)
        for request in self.requests:
            if request.messages:
                said = [list(message.as_json.values()) for message in request.messages]
                text = json.dumps([request.index, said]).encode()
                digest.update(b"chat" + struct.pack("<q", len(text)) + text)
        return digest.hexdigest()


def plan_workload(
    spec: WorkloadSpec,
    *,
    seed: int,
    corpus_token_ids: Sequence[int],
    limits: LengthLimits,
    vocab_size: int | None = None,
    encoder: TextEncoder | None = None,
    told: Told | None = None,
) -> Plan:
    """The requests of one run. The same arguments give the same plan, byte for byte.

    corpus_token_ids: a tokenised text, [tokens]; prompts are cut from it.
    vocab_size: the model's; when given, every token must be below it.
    encoder: the model's tokenizer, which prompts that are texts need.
    told: how far the plan is, now and then.
    Raises WorkloadError: an unreadable file, a request longer than the model, a seed below 0,
    an empty corpus, texts without an encoder, more prompts than a machine holds.

    Arrivals, lengths and prompts draw from separate streams of the seed, so changing the arrivals
    changes neither lengths nor prompts. A longer plan begins with the requests of a shorter one
    (as long as the corpus has an offset for each). Warm-up needs another seed than the measured
    run: the same one would warm a prefix cache with the very prompts that are measured next.
    """
    # numpy, pydantic and yaml are loaded only when a plan is asked for.
    from .plan import plan_workload as build

    return build(
        spec,
        seed=seed,
        corpus_token_ids=corpus_token_ids,
        limits=limits,
        vocab_size=vocab_size,
        encoder=encoder,
        told=told,
    )
