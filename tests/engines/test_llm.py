"""The Python API of the README."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.engines import LLM, SamplingParams
from llmbench.engines.api import FinishReason, Request, StepOutcome, TokenEvent, TokenLogprobs
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.bundled import model_directory

PROMPT = "To be, or not to be"
GREEDY = SamplingParams(max_tokens=16, ignore_eos=True)


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM("bundled", engine="paged", max_model_len=128, dtype="float32")


@pytest.fixture(scope="module")
def reference() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32).eval()


def generate(model: Any, ids: list[int], **settings: Any) -> list[int]:
    """Greedy tokens of transformers' own loop."""
    prompt = torch.tensor([ids])
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=GREEDY.max_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **settings,
    )
    return output[0, len(ids) :].tolist()


def test_text_in_text_out(llm: LLM) -> None:
    first, second = llm.generate(
        ["To be, or not to be", "In the beginning"], SamplingParams(max_tokens=6, ignore_eos=True)
    )
    assert len(first.token_ids) == len(second.token_ids) == 6
    assert first.text == llm.tokenizer.decode(first.token_ids)
    assert first.prompt_token_ids == tuple(llm.tokenizer.encode("To be, or not to be"))


def test_token_ids_and_single_prompts_are_taken_too(llm: LLM) -> None:
    ids = llm.tokenizer.encode("In the beginning")
    by_ids = llm.generate(ids, SamplingParams(max_tokens=4))
    by_text = llm.generate("In the beginning", SamplingParams(max_tokens=4))
    assert by_ids == by_text


def test_each_prompt_may_have_its_own_sampling(llm: LLM) -> None:
    short, long = llm.generate(
        ["A", "B"], [SamplingParams(2, ignore_eos=True), SamplingParams(5, ignore_eos=True)]
    )
    assert (len(short.token_ids), len(long.token_ids)) == (2, 5)


def test_a_prompt_that_cannot_be_served_is_refused_and_nothing_stays_behind(llm: LLM) -> None:
    with pytest.raises(ConfigError, match="max_model_len"):
        llm.generate(["short", list(range(3, 203))])
    assert len(llm.generate("short", SamplingParams(max_tokens=3, ignore_eos=True))) == 1


def test_more_samples_than_sequences_are_no_fault_of_the_prompt() -> None:
    llm = LLM("bundled", engine="paged", max_model_len=128, max_num_seqs=2)
    with pytest.raises(ConfigError, match=r"n: 3 is not allowed; expected at most max_num_seqs"):
        llm.generate("x", SamplingParams(max_tokens=1, temperature=1.0, n=3))
    (output,) = llm.generate("x", SamplingParams(max_tokens=1, temperature=1.0, n=2))
    assert len(output.samples) == 2


def test_one_sampling_a_prompt(llm: LLM) -> None:
    with pytest.raises(ConfigError, match="sampling"):
        llm.generate(["a", "b"], [SamplingParams()])


@pytest.mark.parametrize("prompts", [[[99999]], [[-1]], [3, "text"]])
def test_what_is_no_prompt_is_refused(llm: LLM, prompts: Any) -> None:
    with pytest.raises(ConfigError, match="prompt"):
        llm.generate(prompts)


def test_unknown_settings_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'inflight'"):
        LLM("bundled", engine="infligt")
    with pytest.raises(ConfigError, match=r"setting: 'max_num_seq'.*did you mean 'max_num_seqs'"):
        LLM("bundled", max_num_seq=8)


def test_repetition_penalty_is_that_of_generate(llm: LLM, reference: Any) -> None:
    ids = llm.tokenizer.encode(PROMPT)
    expected = generate(reference, ids, repetition_penalty=1.3)
    assert expected != generate(reference, ids)
    (output,) = llm.generate(PROMPT, replace(GREEDY, repetition_penalty=1.3))
    assert list(output.token_ids) == expected


def test_logprobs_are_those_of_the_models_distribution(llm: LLM, reference: Any) -> None:
    sampling = replace(GREEDY, temperature=1.5, seed=3, logprobs=3, presence_penalty=1.0)
    (output,) = llm.generate(PROMPT, sampling)
    known = torch.tensor([output.prompt_token_ids + output.token_ids])
    with torch.no_grad():
        rows = reference(known).logits[0, len(output.prompt_token_ids) - 1 : -1].log_softmax(-1)
    assert output.logprobs is not None
    assert len(output.logprobs) == len(output.token_ids) == 16
    ranks = set()
    for token, found, row in zip(output.token_ids, output.logprobs, rows, strict=True):
        assert found.logprob == pytest.approx(float(row[token]), abs=1e-3)
        assert found.rank == int((row >= row[token]).sum())
        assert [token for token, _ in found.top] == row.topk(3).indices.tolist()
        assert [p for _, p in found.top] == pytest.approx(row.topk(3).values.tolist(), abs=1e-3)
        ranks.add(found.rank)
    assert len(ranks) > 2, "the likeliest came every time: nothing was sampled"
    assert llm.generate(PROMPT, GREEDY)[0].logprobs is None


def test_a_stop_string_ends_the_text_where_generate_ends_it(llm: LLM, reference: Any) -> None:
    (free,) = llm.generate(PROMPT, GREEDY)
    middle = len(llm.tokenizer.decode(free.token_ids[:8]))
    # From the last character of one token into the next.
    stop = free.text[middle - 1 : middle + 2]
    expected = generate(
        reference,
        list(free.prompt_token_ids),
        stop_strings=[stop],
        tokenizer=_transformers_tokenizer(),
    )
    (output,) = llm.generate(PROMPT, replace(GREEDY, stop=("never said", stop)))
    assert list(output.token_ids) == expected
    assert len(expected) < len(free.token_ids)
    assert output.finish_reason is FinishReason.STOP
    assert output.text == free.text[: free.text.index(stop)]


def _transformers_tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_directory())


class ScriptedEngine:
    """Plays given events a step at a time."""

    def __init__(self, steps: list[list[TokenEvent]]) -> None:
        self.steps = deque(steps)
        self.requests: list[Request] = []
        self.aborted: list[str] = []

    def add(self, request: Request) -> None:
        self.requests.append(request)

    def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)

    def step(self) -> StepOutcome:
        return StepOutcome(tuple(self.steps.popleft()), None)

    def has_work(self) -> bool:
        return bool(self.steps)


def test_each_choice_of_a_prompt_becomes_a_sample(
    llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(llm._served + 1)
    odds = [TokenLogprobs(-float(i), i) for i in range(4)]
    hello, world, stop = (llm.tokenizer.encode(text)[0] for text in ("He", "W", "."))
    length, stopped = FinishReason.LENGTH, FinishReason.STOP
    engine = ScriptedEngine(
        [
            [
                TokenEvent(name, hello, 0.0, choice=0, logprobs=odds[0]),
                TokenEvent(name, world, 0.0, choice=1, logprobs=odds[1]),
            ],
            # The first ends a step after the second, and is still the first.
            [
                TokenEvent(name, stop, 1.0, stopped, choice=1, logprobs=odds[2]),
                TokenEvent(name, world, 1.0, length, choice=0, logprobs=odds[3]),
            ],
        ]
    )
    monkeypatch.setattr(llm, "_engine", engine)
    sampling = SamplingParams(max_tokens=2, n=2, temperature=1.0, logprobs=0, stop=(".",))
    (output,) = llm.generate("x", sampling)
    first, second = output.samples
    assert (first.token_ids, second.token_ids) == ((hello, world), (world, stop))
    assert (first.finish_reason, second.finish_reason) == (length, stopped)
    assert first.text == llm.tokenizer.decode([hello, world])
    assert second.text == llm.tokenizer.decode([world])
    assert first.logprobs == (odds[0], odds[3])
    assert second.logprobs == (odds[1], odds[2])
    assert (output.token_ids, output.text) == (first.token_ids, first.text)
    assert (output.finish_reason, output.logprobs) == (first.finish_reason, first.logprobs)
    assert engine.requests[0].sampling == sampling
    assert engine.aborted == [name]


def test_what_an_engine_can_never_serve_says_why_of_the_prompt(
    llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known wrong: "prompt: '1' is not allowed; expected the KV cache can never hold ..."."""
    name, why = str(llm._served + 1), "the KV cache can never hold its 124 tokens"
    steps = [[TokenEvent(name, None, 0.0, FinishReason.REFUSED, why)]]
    monkeypatch.setattr(llm, "_engine", ScriptedEngine(steps))
    with pytest.raises(ConfigError) as refused:
        llm.generate("x")
    assert str(refused.value) == f"prompt: {why}"
    assert refused.value.field == "prompt"


def test_an_engine_that_loses_a_choice_is_found_out(
    llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(llm._served + 1)
    steps = [[TokenEvent(name, 5, 0.0, FinishReason.LENGTH, choice=1)]]
    monkeypatch.setattr(llm, "_engine", ScriptedEngine(steps))
    with pytest.raises(RuntimeError, match=f"before request {name} ended"):
        llm.generate("x", SamplingParams(max_tokens=1, n=2))
