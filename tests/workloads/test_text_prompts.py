"""Texts and chats as they are sent, with a tokenizer whose tokens are words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llmbench.workloads.api import (
    LengthLimits,
    Message,
    Plan,
    PlannedRequest,
    WorkloadError,
    plan_workload,
)
from llmbench.workloads.load import parse_spec
from llmbench.workloads.warmup import warmup_workload

from .chat import BOS, word_encoder

ROOMY = LengthLimits(None, None, 1000)
AS_TEXT = {"kind": "text"}
FIVE_OUT = {"kind": "text", "output": {"kind": "fixed", "tokens": 5}}


def conversation(*texts: str, system: str = "") -> dict[str, Any]:
    said = [{"from": "system", "value": system}] if system else []
    who = ("human", "gpt")
    return {"conversations": said + [{"from": who[i % 2], "value": t} for i, t in enumerate(texts)]}


TALK = conversation("a b c", "r s", "d", "t u v", system="be kind")
SHORT = conversation("e f", "w")
NO_REPLY = conversation("g")


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    def planned(
        records: list[dict[str, Any]],
        lengths: dict[str, Any] = AS_TEXT,
        limits: LengthLimits = ROOMY,
        n: int | None = 2,
        seed: int = 0,
        template: bool = True,
        more: dict[str, Any] | None = None,
        **prompts: Any,
    ) -> Plan:
        path = tmp_path / "c.json"
        path.write_text(json.dumps(records))
        spec = {
            "num_requests": n,
            "arrivals": {"kind": "at_once"},
            "lengths": lengths,
            "prompts": {"kind": "sharegpt", "path": path, "order": "file", **prompts},
            **(more or {}),
        }
        return plan_workload(
            parse_spec(spec),
            seed=seed,
            corpus_token_ids=range(50, 90),
            limits=limits,
            encoder=word_encoder(chat=template),
        )

    return planned


def sent(plan: Plan) -> list[tuple[list[int], int]]:
    return [(list(one.prompt_token_ids), one.output_tokens) for one in plan.requests]


def test_a_text_is_sent_as_it_is_and_answered_as_it_was(plan: Any) -> None:
    """BOS, be, kind, a, b, c and two words back; BOS, e, f and one."""
    found = plan([TALK, SHORT])
    assert found.requests[0].messages == ()
    assert [(len(ids), out) for ids, out in sent(found)] == [(6, 2), (3, 1)]
    assert all(ids[0] == BOS for ids, _ in sent(found))


def test_a_chat_goes_through_the_template_and_is_kept_as_messages(plan: Any) -> None:
    """BOS, (system, be, kind, end), (user, a, b, c, end), assistant: eleven tokens."""
    first = plan([TALK], n=1, chat=True).requests[0]
    assert first.messages == (Message("system", "be kind"), Message("user", "a b c"))
    assert len(first.prompt_token_ids) == 11
    template = word_encoder().encode_chat
    assert template is not None
    assert list(first.prompt_token_ids) == template(first.messages)


SESSIONS = {"sessions": {"think_s": {"kind": "fixed", "seconds": 3}}}


def test_a_chats_second_turn_holds_the_recorded_reply(plan: Any) -> None:
    one, two = plan([TALK], chat=True, more=SESSIONS).requests
    assert two.messages == (
        *one.messages,
        Message("assistant", "r s"),
        Message("user", "d"),
    )
    assert (two.after, two.think_s, two.t_due_s, two.output_tokens) == (0, 3, None, 3)
    # All of the first prompt but its last token (assistant) and the reply with its end and more.
    assert two.prompt_token_ids[: len(one.prompt_token_ids)] == one.prompt_token_ids


def test_a_texts_second_turn_is_prompt_reply_and_new_words(plan: Any) -> None:
    one, two = plan([TALK], more=SESSIONS).requests
    assert two.prompt_token_ids[:6] == one.prompt_token_ids
    assert len(two.prompt_token_ids) == 6 + 2 + 1


def test_a_reply_that_the_data_lacks_is_made_of_the_corpus(plan: Any) -> None:
    """As long as the planned reply, 5 tokens, and the same for the same seed."""
    talk = {"conversations": [{"from": "human", "value": "a"}]}
    talk["conversations"] += [{"from": "system", "value": "s"}, {"from": "human", "value": "b"}]
    one, two = plan([talk], FIVE_OUT, more=SESSIONS).requests
    assert len(two.prompt_token_ids) == len(one.prompt_token_ids) + 5 + 1
    reply = two.prompt_token_ids[len(one.prompt_token_ids) :][:5]
    assert set(reply) <= set(range(50, 90))
    again = plan([talk], FIVE_OUT, more=SESSIONS)
    assert again.requests == (one, two)
    chat = plan([talk], FIVE_OUT, chat=True, more=SESSIONS).requests[1].messages
    assert len(chat[2].content.split()) == 5


def test_later_turns_that_no_session_sends_are_told_of(plan: Any) -> None:
    said = "later turns of 1 of 2 conversations left out: 'sessions' would send them"
    assert plan([TALK, SHORT]).adjustments == (said,)
    assert plan([SHORT], n=1).adjustments == ()
    assert plan([TALK, SHORT], n=3, more=SESSIONS).adjustments == ()
    # Left out whole, not for its turns; the other is sent again.
    limits = LengthLimits(8, None, 1000)
    chats = plan([TALK, SHORT], limits=limits, chat=True).adjustments
    assert not any("later turns" in one for one in chats)


def test_turns_are_at_most_as_asked(plan: Any) -> None:
    turns = {"sessions": {"turns": {"kind": "fixed", "turns": 1}}}
    assert [one.after for one in plan([TALK, SHORT], more=turns).requests] == [None, None]
    assert len(plan([TALK, SHORT], n=3, more=SESSIONS).requests) == 3


def test_prompts_without_a_reply_need_a_length(plan: Any) -> None:
    found = plan([TALK, NO_REPLY, SHORT])
    assert [out for _, out in sent(found)] == [2, 1]
    assert found.adjustments[0] == "1 of 3 conversations left out: they have no recorded reply"
    assert [out for _, out in sent(plan([NO_REPLY, SHORT], FIVE_OUT))] == [5, 5]
    with pytest.raises(WorkloadError) as caught:
        plan([NO_REPLY])
    assert str(caught.value) == (
        "lengths.output: is missing; expected a length, as no prompt has a recorded reply"
    )


def test_lengths_trim_texts_and_never_stretch_them(plan: Any) -> None:
    four = {"kind": "fixed", "tokens": 4}
    trimmed = plan([TALK, SHORT], {"kind": "sampled", "input": four, "output": four})
    whole = plan([TALK, SHORT])
    assert [(len(ids), out) for ids, out in sent(trimmed)] == [(4, 4), (3, 4)]
    assert sent(trimmed)[0][0] == sent(whole)[0][0][:4]
    said = "1 of 2 texts have fewer tokens than lengths ask for: sent as they are"
    assert said in trimmed.adjustments
    assert not any("fewer tokens" in note for note in whole.adjustments)


def test_a_cap_cuts_texts_and_leaves_chats_out(plan: Any) -> None:
    cut = plan([TALK, SHORT], limits=LengthLimits(4, None, 1000))
    assert [len(ids) for ids, _ in sent(cut)] == [4, 3]
    assert cut.adjustments[0] == "input length clipped to 4 tokens for 1 of 2 requests"
    chats = plan([TALK, SHORT], limits=LengthLimits(8, None, 1000), chat=True)
    assert [len(ids) for ids, _ in sent(chats)] == [6, 6]
    # Two of the first, with what comes between and is not sent.
    assert chats.adjustments == (
        "2 chats left out: too long for the limits",
        "2 conversations are sent again: the data has only 2",
    )
    with pytest.raises(WorkloadError, match="hold no chat that fits; expected a chat of at most 5"):
        plan([TALK, SHORT], limits=LengthLimits(5, None, 1000), chat=True)


def test_a_chat_longer_than_the_model_is_refused_unless_clipping_is_asked_for(plan: Any) -> None:
    limits = LengthLimits(None, None, 12)
    with pytest.raises(WorkloadError, match=r"'11 . 2 tokens' of a chat are longer than the model"):
        plan([TALK, SHORT], limits=limits, chat=True)
    found = plan([TALK, SHORT], limits=limits, chat=True, more={"fit": "clip"})
    assert [len(ids) for ids, _ in sent(found)] == [6, 6]


def test_lines_of_a_text_are_turns_of_a_session(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a b\nc\nd e f\n")
    spec = {
        "num_requests": 3,
        "arrivals": {"kind": "at_once"},
        "lengths": FIVE_OUT,
        "prompts": {"kind": "text", "path": path, "order": "file"},
        "sessions": {"turns": {"kind": "fixed", "turns": 2}},
    }
    found = plan_workload(
        parse_spec(spec), seed=0, corpus_token_ids=[50], limits=ROOMY, encoder=word_encoder()
    )
    assert [one.after for one in found.requests] == [None, 0, None]
    assert [len(one.prompt_token_ids) for one in found.requests] == [3, 3 + 5 + 1, 4]


def test_shuffled_texts_come_once_before_any_comes_again(plan: Any) -> None:
    records = [conversation(word, "r") for word in "abcdefgh"]
    twice = plan(records, n=16, order="shuffled", seed=4)
    heads = [one.prompt_token_ids[1:] for one in twice.requests]
    assert len(set(heads[:8])) == len(set(heads[8:])) == 8
    assert twice.adjustments == ("8 conversations are sent again: the data has only 8",)
    assert plan(records, n=5, order="shuffled", seed=4).requests == twice.requests[:5]


def test_texts_need_a_tokenizer_and_chats_a_template(plan: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="needs a chat template; expected chat: false, or"):
        plan([TALK], chat=True, template=False)
    spec = {
        "num_requests": 1,
        "arrivals": {"kind": "at_once"},
        "lengths": FIVE_OUT,
        "prompts": {"kind": "text", "path": tmp_path / "t.txt"},
    }
    with pytest.raises(WorkloadError, match="prompts: 'text' need the model's tokenizer"):
        plan_workload(parse_spec(spec), seed=0, corpus_token_ids=[1], limits=ROOMY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"lengths": AS_TEXT},
            "workload: has lengths of kind text for corpus prompts; expected lengths of another",
        ),
        (
            {"prompts": {"kind": "text", "path": "x", "chat": True}},
            "expected lengths of kind text, as a chat cannot be trimmed",
        ),
        ({"prompts": {"kind": "jsonl"}}, "prompts.path: is missing; expected a path"),
        ({"prompts": {"kind": "share"}}, "prompts.kind: 'share' is not allowed; expected one of"),
    ],
)
def test_what_does_not_go_together_is_named(changed: dict[str, Any], message: str) -> None:
    four = {"kind": "fixed", "tokens": 4}
    spec = {
        "num_requests": 1,
        "arrivals": {"kind": "at_once"},
        "lengths": {"kind": "sampled", "input": four, "output": four},
    }
    with pytest.raises(WorkloadError) as caught:
        parse_spec({**spec, **changed})
    assert message in str(caught.value)


def test_a_warm_up_does_not_read_what_is_measured() -> None:
    spec = parse_spec(
        {
            "num_requests": 9,
            "arrivals": {"kind": "poisson", "rate_per_s": 1},
            "lengths": FIVE_OUT,
            "prompts": {"kind": "text", "path": "nowhere.txt"},
        }
    )
    measured = [PlannedRequest(index, 0.0, range(9), 5) for index in range(2)]
    plan = plan_workload(
        warmup_workload(spec, measured), seed=1, corpus_token_ids=range(500), limits=ROOMY
    )
    assert [one.t_due_s for one in plan.requests] == [0, 0]
