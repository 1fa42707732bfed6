"""When outputs end, and text that is seen a token at a time as if it were seen whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.engines.stopping import TextTail, cut_at_stop, finish_reason
from tokenizers import Tokenizer, decoders, models

from .drive import drive, make_core, make_request

BUNDLED = load_tokenizer(model_directory())
EOS = 0

# As Llama 2's tokenizer: a mark for spaces, of which the first of a text is dropped, and bytes for
# what is in no piece.
BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}
PIECES = ["▁", "▁▁", "▁the", "▁end", "end", ".", "th", "e", "n", "d", "\n", "▁St", "op"]


def marked_tokenizer() -> Tokenizer:
    vocab = BYTES | {piece: 256 + index for index, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


MARKED = marked_tokenizer()
MARKED_EOS = 256 + len(PIECES)


def first_stop(ids: Sequence[int], stop: Sequence[str], decode: Callable) -> int | None:
    """The definition: how many tokens it takes until their whole text holds a stop string. Bytes
    at its end that make no character are not yet text."""
    for count in range(1, len(ids) + 1):
        text = decode(list(ids[:count])).rstrip("\ufffd")
        if any(string in text for string in stop):
            return count
    return None


def first_push(ids: Sequence[int], stop: Sequence[str], decode: Callable) -> int | None:
    tail = TextTail(stop, decode)
    for count, token_id in enumerate(ids, start=1):
        if tail.push(token_id):
            return count
    return None


@st.composite
def outputs_and_stops(draw: st.DrawFn, parts: st.SearchStrategy[list[int]], decode: Callable):
    """Token ids, and strings most of which are in their text somewhere."""
    ids = [token for part in draw(st.lists(parts, min_size=1, max_size=25)) for token in part]
    text = decode(ids)
    stops = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(text) - 1)))
        stops.append(text[start : start + draw(st.integers(1, 9))].replace("\ufffd", ""))
    return ids, [string for string in stops if string] or ["never said"]


# The bundled vocabulary's ids 1 to 256 are the bytes: characters are often cut, or invalid.
bundled_parts = st.one_of(
    st.lists(st.integers(0, 2047), min_size=1, max_size=4),
    st.lists(st.integers(1, 256), min_size=1, max_size=4),
    st.sampled_from(["é", "€", "日本", "🙂", "naïve 🙂 end"]).map(BUNDLED.encode),
    st.just([EOS]),
)
marked_parts = st.one_of(
    st.integers(256, MARKED_EOS).map(lambda token: [token]),
    st.sampled_from("aé€🙂 ").map(lambda text: list(text.encode())),
)


@settings(max_examples=400, deadline=None)
@given(outputs_and_stops(bundled_parts, BUNDLED.decode))
def test_bytes_are_read_as_if_the_text_were_whole(case: tuple[list[int], list[str]]) -> None:
    ids, stops = case
    assert first_push(ids, stops, BUNDLED.decode) == first_stop(ids, stops, BUNDLED.decode)


@settings(max_examples=400, deadline=None)
@given(outputs_and_stops(marked_parts, MARKED.decode))
def test_marked_spaces_are_read_as_if_the_text_were_whole(
    case: tuple[list[int], list[str]],
) -> None:
    ids, stops = case
    assert first_push(ids, stops, MARKED.decode) == first_stop(ids, stops, MARKED.decode)


TABLE = {1: "Hello", 2: " wor", 3: "ld\n", 4: "\nUser:", 5: " x", 6: "a.b.c"}


def spell(ids: Sequence[int]) -> str:
    return "".join(TABLE[token] for token in ids)


@pytest.mark.parametrize(
    ("ids", "stop", "count", "text"),
    [
        ([1, 2, 3, 4, 5], ("\n\nUser:",), 4, "Hello world"),  # over two tokens
        ([1, 2, 3, 4, 5], ("wor",), 2, "Hello "),  # inside one
        ([1, 2, 3, 4, 5], ("o w",), 2, "Hell"),  # over a border
        ([1, 2, 3, 4, 5], ("Hello world\n\nUser: x",), 5, ""),  # all of it
        ([1, 2, 3, 4, 5], ("x", "ser"), 4, "Hello world\n\nU"),  # the first to come, not listed
        ([6, 5], ("c", "b", "."), 1, "a"),  # several in one token: cut at the first place
        ([1, 1, 1], ("Hellp", "oo"), None, "HelloHelloHello"),
    ],
)
def test_stop_strings_by_hand(
    ids: list[int], stop: tuple[str, ...], count: int | None, text: str
) -> None:
    assert first_push(ids, stop, spell) == count
    assert cut_at_stop(spell(ids[:count]), stop) == text


def test_a_character_in_parts_is_waited_for() -> None:
    ids = list("x🙂y".encode())
    assert len(ids) == 6
    assert first_push(ids, ["🙂"], MARKED.decode) == 5
    assert first_push(ids, ["x"], MARKED.decode) == 1
    # What stands in its place until then is not text.
    assert first_push(ids, ["x\ufffd"], MARKED.decode) is None


def test_only_the_tail_is_decoded() -> None:
    longest = 0

    def decode(ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return BUNDLED.decode(ids)

    ids = BUNDLED.encode("It was the best of times, it was the worst of times. " * 40)
    assert len(ids) > 400
    assert first_push([*ids, *[EOS] * 50, *ids], ["never said"], decode) is None
    assert longest == 2


@pytest.mark.parametrize(
    ("token", "count", "found", "ignore_eos", "expected"),
    [
        (5, 1, False, False, None),
        (5, 8, False, False, FinishReason.LENGTH),
        (7, 1, False, True, FinishReason.STOP),  # a stop token, which ignore_eos does not touch
        (7, 8, False, False, FinishReason.STOP),
        (0, 1, False, False, FinishReason.STOP),  # end of text
        (0, 1, False, True, None),
        (0, 8, False, True, FinishReason.LENGTH),
        (5, 1, True, False, FinishReason.STOP),
        (5, 8, True, False, FinishReason.STOP),  # as in vLLM: the stop string wins
    ],
)
def test_what_ends_an_output(
    token: int, count: int, found: bool, ignore_eos: bool, expected: FinishReason | None
) -> None:
    sampling = SamplingParams(max_tokens=8, stop_token_ids=(7,), ignore_eos=ignore_eos)
    assert finish_reason(sampling, token, count, {0}, stop_string=found) is expected


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(33 + token) for token in ids)


def test_the_engine_stops_where_the_text_does_preempted_or_not() -> None:
    plain = [make_request(name, 5, 12) for name in ("a", "b", "c")]
    free = {
        request.request_id: drive(make_core(), [request]).tokens(request.request_id)
        for request in plain
    }
    stops = {name: letters(ids[5:7]) for name, ids in free.items()}
    requests = [
        replace(r, sampling=SamplingParams(max_tokens=12, stop=(stops[r.request_id],)))
        for r in plain
    ]
    core = make_core(pool_tokens=32, max_model_len=20)
    core._ledger._decode = letters
    run = drive(core, requests)
    assert any(step.preempted for step in run.steps)
    for name, ids in free.items():
        assert run.tokens(name) == ids[: first_stop(ids, [stops[name]], letters)]
        ends = [event for event in run.events if event.request_id == name and event.finish]
        assert [event.finish for event in ends] == [FinishReason.STOP]


def test_each_sample_stops_at_its_own_text() -> None:
    plain = make_request("a", 5, 12, n=3)
    free = drive(make_core(max_num_seqs=4), [plain])
    tokens = [free.tokens("a", choice) for choice in range(3)]
    stop = letters(tokens[1][3:5])
    core = make_core(max_num_seqs=4)
    core._ledger._decode = letters
    run = drive(core, [replace(plain, sampling=replace(plain.sampling, stop=(stop,)))])
    for choice, ids in enumerate(tokens):
        kept = run.tokens("a", choice)
        assert kept == (ids[: first_stop(ids, [stop], letters)] if stop in letters(ids) else ids)


def test_stop_strings_need_a_tokenizer() -> None:
    core = make_core()
    with pytest.raises(ConfigError, match=r"^stop: \('x',\) is not allowed; .*no tokenizer$"):
        core.add(Request("a", (1, 2), SamplingParams(stop=("x",))))
    assert not core.has_work()
