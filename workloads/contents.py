"""What all requests of a plan say: lengths drawn, sessions laid out, prompts made or read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from .api import LengthLimits, RequestShape, TextEncoder, WorkloadError
from .clip import fit_lengths
from .lengths import Tokens, sample_pairs, trace_pairs
from .making import Making
from .pairs import measured_pairs
from .prefixes import SharedPrefixes, corpus_prefix, which_prefix
from .prompt_tokens import CorpusWords, RandomWords, Words, plain_vocabulary
from .prompts import PrefixBlocks, draw_offsets
from .sessions import ALONE, SessionDraws, draw_slots, slots_of_rows
from .spec import (
    CorpusPrompts,
    FixedLength,
    PairLengths,
    RandomPrompts,
    SampledLengths,
    TextLengths,
    TextPrompts,
    TraceLengths,
    WorkloadSpec,
)
from .synthetic import Content, grown, recorded
from .text_prompts import TextPlanner
from .texts import TextSource, read_conversations
from .texts.conversation import Conversation


class Streams:
    """Independent streams of one seed, so that a change of one part leaves the others as they
    were. `lengths` begins anew at each call."""

    def __init__(self, seed: int) -> None:
        root = np.random.default_rng(seed)
        self._seed = seed
        self.arrivals, _, self.prompts = root.spawn(3)
        self.sessions, self.replies, self.prefixes = root.spawn(3)

    def lengths(self) -> np.random.Generator:
        return np.random.default_rng(self._seed).spawn(3)[1]


@dataclass(frozen=True)
class Drawn:
    """What contents are made of.

    rows: of a trace, where it gives the lengths. num_requests, num_sessions: how much is wanted;
    one of the two is given. making: is told of each prompt.
    """

    spec: WorkloadSpec
    rows: Sequence[RequestShape] | None
    num_requests: int | None
    num_sessions: int | None
    corpus: tuple[int, ...]
    limits: LengthLimits
    vocab_size: int | None
    encoder: TextEncoder | None
    making: Making


def contents_of(drawn: Drawn, streams: Streams) -> tuple[list[Content], tuple[str, ...]]:
    """(what each request says, what was adjusted, in words)."""
    prompts = drawn.spec.prompts
    if isinstance(prompts, CorpusPrompts | RandomPrompts):
        return _synthetic(drawn, prompts, streams)
    return _read(drawn, prompts, streams)


def drawn_prefixes(
    prompts: CorpusPrompts | RandomPrompts, count: int, seed: int
) -> Sequence[int | None]:
    """Which shared prefix each of `count` requests of that seed begins with, without the words."""
    return which_prefix(prompts, count, Streams(seed).prefixes)


# --- lengths ---------------------------------------------------------------------------------


def _pairs(drawn: Drawn, count: int, streams: Streams) -> Tokens:
    """[count, 2] tokens: input, output; a longer draw begins like a shorter one."""
    rng = streams.lengths()
    match drawn.spec.lengths:
        case SampledLengths(input=inputs, output=outputs, correlation=correlation):
            return sample_pairs(count, inputs, outputs, correlation, rng)
        case PairLengths() as lengths:
            measured = measured_pairs(lengths)
            return measured[rng.integers(len(measured), size=count)]
        case TraceLengths():
            rows = drawn.rows or ()
            return trace_pairs([rows[at % len(rows)] for at in range(count)])
        case TextLengths(output=output):
            one = FixedLength(kind="fixed", tokens=1)
            return sample_pairs(count, one, output or one, 0.0, rng)


class _AskedLengths:
    """The pair of a numbered request; more are drawn when they are asked for."""

    def __init__(self, drawn: Drawn, streams: Streams) -> None:
        self._drawn, self._streams = drawn, streams
        self._pairs = np.empty((0, 2), dtype=np.int64)
        lengths = drawn.spec.lengths
        self._as_text = isinstance(lengths, TextLengths)
        self._recorded = isinstance(lengths, TextLengths) and lengths.output is None

    def __call__(self, index: int) -> tuple[int | None, int | None]:
        if self._recorded:
            return None, None
        if index >= len(self._pairs):
            wanted = max(2 * index, self._drawn.num_requests or 0, 64)
            self._pairs = _pairs(self._drawn, wanted, self._streams)
        new, output = np.maximum(self._pairs[index], 1).tolist()
        return (None if self._as_text else new), output


# --- prompts that are made -------------------------------------------------------------------


def _synthetic(
    drawn: Drawn, prompts: CorpusPrompts | RandomPrompts, streams: Streams
) -> tuple[list[Content], tuple[str, ...]]:
    spec, rows = drawn.spec, drawn.rows
    if rows is not None:
        slots = slots_of_rows(rows[: drawn.num_requests or drawn.num_sessions])
    elif spec.sessions is None:
        slots = [ALONE] * (drawn.num_requests or drawn.num_sessions or 0)
    else:
        draws = SessionDraws(spec.sessions, streams.sessions)
        slots = draw_slots(draws, drawn.num_requests, drawn.num_sessions)
    count = len(slots)
    pairs, notes = fit_lengths(_pairs(drawn, count, streams), drawn.limits, spec.fit)
    drawn.making.expect(int(pairs[:, 0].sum()))
    if isinstance(prompts, CorpusPrompts):
        words: Words = CorpusWords(drawn.corpus, count, streams.prompts)
        replies: Words = CorpusWords(drawn.corpus, count, streams.replies)
        make = corpus_prefix(drawn.corpus)
        notes = (*notes, *_corpus_notes(count, len(drawn.corpus)))
    else:
        vocabulary = plain_vocabulary(drawn.encoder, drawn.vocab_size)
        words = RandomWords(vocabulary, count, streams.prompts)
        replies = RandomWords(vocabulary, count, streams.replies)
        # Apart from which prompt has which, so that their number says nothing of who has one.
        (prefix_rng,) = streams.prefixes.spawn(1)
        make = RandomWords(vocabulary, prompts.shared_prefix_count, prefix_rng).take
    prefixes = SharedPrefixes(prompts, count, streams.prefixes, make)
    if rows is None:
        contents, left_out = grown(
            slots, pairs, words, replies, prefixes.put, drawn.limits, spec.fit, drawn.making
        )
        return contents, (*notes, *left_out)
    blocks = PrefixBlocks(drawn.corpus)
    contents = recorded(
        slots, pairs, rows[:count], words, replies, prefixes.put, blocks.tokens, drawn.making
    )
    return contents, notes


def _corpus_notes(num_requests: int, corpus_tokens: int) -> list[str]:
    shared = num_requests - corpus_tokens
    if shared <= 0:
        return []
    return [
        f"{shared} of {num_requests} prompts begin where another does: "
        f"the corpus has only {corpus_tokens} tokens"
    ]


# --- prompts that are read -------------------------------------------------------------------


def _read(
    drawn: Drawn, prompts: TextSource, streams: Streams
) -> tuple[list[Content], tuple[str, ...]]:
    spec = drawn.spec
    if drawn.encoder is None:
        expected = "corpus or random prompts, or a run with a real model"
        raise WorkloadError("prompts", prompts.kind, expected, "need the model's tokenizer")
    conversations = read_conversations(prompts)
    asked = _AskedLengths(drawn, streams)
    notes: list[str] = []
    if isinstance(spec.lengths, TextLengths) and spec.lengths.output is None:
        conversations, notes = _answered(conversations)
    planner = TextPlanner(
        _in_order(conversations, prompts, streams.prompts),
        len(conversations),
        drawn.encoder,
        chat=prompts.chat,
        single=isinstance(prompts, TextPrompts),
        replies=_EndlessWords(drawn.corpus, streams.replies),
        limits=drawn.limits,
        fit=spec.fit,
        making=drawn.making,
    )
    draws = SessionDraws(spec.sessions, streams.sessions)
    contents, changed = planner.contents(draws, asked, drawn.num_requests, drawn.num_sessions)
    notes.extend(changed)
    if spec.sessions is None and planner.cut_short:
        which = f"{planner.cut_short} of {len(contents)} conversations"
        notes.append(f"later turns of {which} left out: 'sessions' would send them")
    if planner.shorter:
        which = f"{planner.shorter} of {len(contents)} texts"
        notes.append(f"{which} have fewer tokens than lengths ask for: sent as they are")
    if planner.taken > len(conversations):
        again = planner.taken - len(conversations)
        what = "texts" if isinstance(prompts, TextPrompts) else "conversations"
        notes.append(f"{again} {what} are sent again: the data has only {len(conversations)}")
    return contents, tuple(notes)


def _answered(conversations: list[Conversation]) -> tuple[list[Conversation], list[str]]:
    """Conversations up to their first turn without a reply; those with no reply are left out."""
    kept: list[Conversation] = []
    for one in conversations:
        known = [turn.reply is not None or turn.reply_tokens is not None for turn in one.turns]
        count = known.index(False) if False in known else len(known)
        if count:
            kept.append(Conversation(one.turns[:count], one.system))
    if not kept:
        expected = "a length, as no prompt has a recorded reply"
        raise WorkloadError("lengths.output", None, expected, "is missing")
    missing = len(conversations) - len(kept)
    whole = len(conversations)
    note = f"{missing} of {whole} conversations left out: they have no recorded reply"
    return kept, [note] if missing else []


def _in_order(
    conversations: list[Conversation], prompts: TextSource, rng: np.random.Generator
) -> Iterator[Conversation]:
    """Without end, each once before any comes again."""
    for _ in repeat(None):
        if prompts.order == "file":
            yield from conversations
        else:
            for at in draw_offsets(len(conversations), len(conversations), rng).tolist():
                yield conversations[at]


class _EndlessWords:
    """Runs of the corpus for as many places as are asked for."""

    def __init__(self, corpus: tuple[int, ...], rng: np.random.Generator) -> None:
        self._corpus, self._seed = corpus, int(rng.integers(2**63))
        self._words, self._count = CorpusWords(corpus, 1, np.random.default_rng(self._seed)), 1

    def take(self, index: int, length: int) -> tuple[int, ...]:
        if index >= self._count:
            self._count = 2 * index
            rng = np.random.default_rng(self._seed)
            self._words = CorpusWords(self._corpus, self._count, rng)
        return self._words.take(index, length)
