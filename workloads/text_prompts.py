"""Prompts of conversations that were read: texts or chats, one turn or several.

The history of a later turn is what was planned: each user's words and the reply of the data or,
where the data has none, a run of the corpus as long as the planned reply. So the same seed sends
the same bytes, whatever an engine answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from .api import LengthLimits, Message, TextEncoder, WorkloadError
from .clip import fit_lengths
from .making import Making
from .prompt_tokens import Words
from .sessions import SessionDraws
from .synthetic import Content, left_out_note, room_for
from .texts.conversation import Conversation, Turn

# The pair of a request: new input tokens at most (None: as the text has), output tokens (None: as
# the recorded reply has).
Asked = Callable[[int], tuple[int | None, int | None]]


@dataclass(frozen=True)
class _Opening:
    """A session's turns as they will be sent, and the first one's prompt."""

    system: str
    turns: tuple[Turn, ...]
    first_index: int
    prompt: tuple[int, ...]
    messages: tuple[Message, ...]
    output_tokens: int


class TextPlanner:
    """Makes contents of conversations.

    pool: conversations in the order that they are taken, without end. single: a conversation is
    one text, and a session takes several. taken, cut_short: how many conversations were taken, and
    how many of those that are sent have turns that are not. shorter: how many texts have fewer
    tokens than were asked of them.
    """

    def __init__(
        self,
        pool: Iterator[Conversation],
        pool_size: int,
        encoder: TextEncoder,
        *,
        chat: bool,
        single: bool,
        replies: Words,
        limits: LengthLimits,
        fit: Literal["error", "clip"],
        making: Making,
    ) -> None:
        self._pool, self._pool_size, self._encoder = pool, pool_size, encoder
        # Texts come again where the data has fewer than are sent.
        self._encode = lru_cache(maxsize=1 << 16)(lambda text: tuple(encoder.encode(text)))
        self._chat, self._single, self._replies = chat, single, replies
        self._limits = limits
        self._fit: Literal["error", "clip"] = fit
        self._making = making
        self.taken = self.cut_short = self.shorter = 0
        if chat and encoder.encode_chat is None:
            expected = "chat: false, or a model whose tokenizer has a chat template"
            raise WorkloadError("prompts.chat", True, expected, "needs a chat template")

    def contents(
        self,
        draws: SessionDraws,
        asked: Asked,
        num_requests: int | None,
        num_sessions: int | None,
    ) -> tuple[list[Content], tuple[str, ...]]:
        """(what is sent, what was done to make it fit), for so many requests or sessions."""
        openings, left_out = self._openings(draws, asked, num_requests, num_sessions)
        first_pairs = np.array([(len(one.prompt), one.output_tokens) for one in openings])
        fitted, notes = fit_lengths(first_pairs, self._limits, self._fit)
        contents: list[Content] = []
        for opening, (length, output) in zip(openings, fitted.tolist(), strict=True):
            begin = len(contents)
            contents.append(Content(opening.prompt[:length], output, messages=opening.messages))
            self._continue(opening, begin, contents, draws, asked)
        wanted = sum(len(one.turns) for one in openings)
        notes = (*notes, *left_out_note(wanted - len(contents), wanted))
        if left_out:
            notes = (*notes, f"{left_out} chats left out: too long for the limits")
        return contents, notes

    def _openings(
        self, draws: SessionDraws, asked: Asked, num_requests: int | None, num_sessions: int | None
    ) -> tuple[list[_Opening], int]:
        """(the sessions, how many chats did not fit and were left out)."""
        openings: list[_Opening] = []
        planned = left_out = in_a_row = 0
        while planned != num_requests and len(openings) != num_sessions:
            turns = draws.turns()
            most = None if num_requests is None else num_requests - planned
            said = self._take(turns)
            opening = self._open(said, turns, most, planned, asked)
            if self._chat and not self._opening_fits(opening):
                left_out, in_a_row = left_out + 1, in_a_row + 1
                if in_a_row > self._pool_size:
                    limit = self._limits.max_input_tokens or self._limits.max_total_tokens
                    raise WorkloadError(
                        "prompts",
                        None,
                        f"a chat of at most {limit} tokens",
                        "hold no chat that fits",
                    )
                continue
            in_a_row = 0
            self._making.add(len(opening.prompt))
            planned += len(opening.turns)
            self.cut_short += len(opening.turns) < len(said.turns)
            openings.append(opening)
        return openings, left_out

    def _take(self, turns: int | None) -> Conversation:
        count = (turns or 1) if self._single else 1
        found = [next(self._pool) for _ in range(count)]
        self.taken += count
        return Conversation(tuple(turn for one in found for turn in one.turns), found[0].system)

    def _open(
        self, said: Conversation, turns: int | None, most: int | None, index: int, asked: Asked
    ) -> _Opening:
        count = min(n for n in (turns, most, len(said.turns)) if n is not None)
        new, _ = asked(index)
        first = said.turns[0]
        output = self._output_tokens(first, index, asked)
        messages: tuple[Message, ...] = ()
        if self._chat:
            system = (Message("system", said.system),) if said.system else ()
            messages = (*system, Message("user", first.user))
            prompt = self._encode_chat(messages)
        else:
            text = "\n\n".join(filter(None, (said.system, first.user)))
            prompt = (*self._encoder.prefix_ids, *self._encode(text))[:new]
            self.shorter += new is not None and len(prompt) < new
        return _Opening(said.system, said.turns[:count], index, prompt, messages, output)

    def _opening_fits(self, opening: _Opening) -> bool:
        """Whether a chat may be sent as it is. Raises WorkloadError where it is longer than the
        model and may not be left out."""
        most, tokens = self._limits.max_input_tokens, len(opening.prompt)
        if most is not None and tokens > most:
            return False
        total, output = self._limits.max_total_tokens, opening.output_tokens
        capped = min(output, self._limits.max_output_tokens or output)
        if tokens + capped <= total:
            return True
        if self._fit == "error" and most is None:
            raise WorkloadError(
                "prompts",
                f"{tokens} + {output} tokens",
                f"at most {total} in all: --max-input-len, or fit: clip, which leave longer chats "
                "out",
                "of a chat are longer than the model",
            )
        return False

    def _continue(
        self,
        opening: _Opening,
        begin: int,
        contents: list[Content],
        draws: SessionDraws,
        asked: Asked,
    ) -> None:
        """Adds the later turns, up to the first that does not fit."""
        for number, turn in enumerate(opening.turns[1:], start=1):
            index = opening.first_index + number
            before = contents[begin + number - 1]
            reply = self._reply(opening.turns[number - 1], index - 1, before.output_tokens)
            new, _ = asked(index)
            think_s = draws.think_s()
            messages: tuple[Message, ...] = ()
            is_shorter = False
            if self._chat:
                answer = reply if isinstance(reply, str) else self._encoder.decode(reply)
                said = (Message("assistant", answer), Message("user", turn.user))
                messages = (*before.messages, *said)
                prompt = self._encode_chat(messages)
            else:
                answer = self._encode(reply) if isinstance(reply, str) else reply
                own = self._encode(turn.user)[:new]
                prompt = (*before.prompt_token_ids, *answer, *own)
                is_shorter = new is not None and len(own) < new
            output = self._output_tokens(turn, index, asked)
            output = min(output, self._limits.max_output_tokens or output)
            if not room_for(len(prompt), output, self._limits, self._fit):
                # Their draws are spent all the same, so that other sessions stay as they are.
                for _ in opening.turns[number + 1 :]:
                    draws.think_s()
                return
            self._making.add(len(prompt))
            self.shorter += is_shorter
            contents.append(Content(prompt, output, len(contents) - 1, think_s, messages))

    def _encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        assert self._encoder.encode_chat is not None
        return tuple(self._encoder.encode_chat(messages))

    def _output_tokens(self, turn: Turn, index: int, asked: Asked) -> int:
        _, output = asked(index)
        if output is not None:
            return output
        if turn.reply_tokens is not None:
            return turn.reply_tokens
        if turn.reply is not None:
            return max(1, len(self._encode(turn.reply)))
        expected = "a length, as there is a prompt without a recorded reply"
        raise WorkloadError("lengths.output", None, expected, "is missing")

    def _reply(self, turn: Turn, index: int, tokens: int) -> str | tuple[int, ...]:
        return turn.reply if turn.reply is not None else self._replies.take(index, tokens)
