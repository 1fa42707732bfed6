"""An engine as lm-eval's model, against transformers computing the same in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from llmbench.engines import LLM
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.bundled import heldout_text, model_directory

if TYPE_CHECKING:
    from llmbench.harness.tasks.engine_lm import EngineLM

pytestmark = pytest.mark.lm_eval
TEXT = heldout_text()


@pytest.fixture(scope="module")
def lm() -> EngineLM:
    from llmbench.harness.tasks.engine_lm import EngineLM

    settings = {"dtype": "float32", "device": "cpu", "kv_memory_bytes": 2**24}
    return EngineLM(LLM("bundled", max_model_len=256, **settings), lambda _: None)


@pytest.fixture(scope="module")
def reference() -> Iterator[torch.nn.Module]:
    import transformers

    with torch.inference_mode():
        yield transformers.AutoModelForCausalLM.from_pretrained(
            model_directory(), dtype=torch.float32
        ).eval()


def asked(*arguments: object) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


def log_probabilities(reference: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return reference(torch.tensor([ids])).logits[0].log_softmax(-1)


def test_a_continuation_has_transformers_likelihood(
    lm: EngineLM, reference: torch.nn.Module
) -> None:
    words = TEXT.split(" ")
    pairs = [
        (" ".join(words[at : at + 30]), " " + " ".join(words[at + 30 : at + 40]))
        for at in (0, 500, 3000)
    ]
    # The space before a word is the continuation's, wherever it stands.
    pairs.append((pairs[0][0] + " ", pairs[0][1][1:]))
    found = lm.loglikelihood([asked(*pair) for pair in pairs])
    assert found[0] == found[-1]
    for (context, continuation), (value, greedy) in zip(pairs, found, strict=True):
        whole = lm.tok_encode(context + continuation)
        before = len(lm.tok_encode(context.rstrip()))
        scores = log_probabilities(reference, whole)[before - 1 : -1]
        targets = torch.tensor(whole[before:])
        expected = scores.gather(1, targets[:, None]).sum()
        assert value == pytest.approx(float(expected), rel=1e-5)
        assert greedy == bool((scores.argmax(-1) == targets).all())


def test_what_the_model_says_itself_is_greedy(lm: EngineLM) -> None:
    ids = lm.tok_encode(TEXT[:200])
    said = lm._llm.generate(ids).pop().token_ids
    value, greedy = lm._score(ids, said)
    assert greedy
    assert value < 0
    other = (said[0] + 1) % lm._llm.loaded.config.vocab_size
    worse, still = lm._score(ids, [other, *said[1:]])
    assert not still
    assert worse < value


def test_a_text_with_nothing_before_it_follows_the_end_token(
    lm: EngineLM, reference: torch.nn.Module
) -> None:
    [(value, _)] = lm.loglikelihood([asked("", TEXT[:40])])
    ids = [0, *lm.tok_encode(TEXT[:40])]
    scores = log_probabilities(reference, ids)[:-1]
    expected = scores.gather(1, torch.tensor(ids[1:])[:, None]).sum()
    assert value == pytest.approx(float(expected), rel=1e-5)


def test_what_is_too_long_loses_its_beginning(lm: EngineLM) -> None:
    ids = lm.tok_encode(TEXT[:4000])
    assert len(ids) > 2 * lm.max_length
    end = ids[-5:]
    kept = ids[-(lm.max_length + 1) : -5]
    assert lm._score(ids[:-5], end) == lm._score(kept, end)


@pytest.mark.parametrize("window", [16, 100, 4096])
def test_whole_texts_are_predicted_once_in_windows(
    window: int, lm: EngineLM, reference: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmbench.harness.tasks.engine_lm.WINDOW_TOKENS", window)
    text = TEXT[:600]
    ids = [0, *lm.tok_encode(text)]
    most = min(window, lm.max_length)
    expected = predicted = 0.0
    start = 1
    while start < len(ids):
        end = min(start + most, len(ids))
        # The last window reaches back, so that its tokens have a full window before them.
        first = max(0, end - most - 1) if start > 1 else 0
        scores = log_probabilities(reference, ids[first : end - 1])[-(end - start) :]
        expected += float(scores.gather(1, torch.tensor(ids[start:end])[:, None]).sum())
        predicted += end - start
        start = end
    assert predicted == len(ids) - 1
    [value] = lm.loglikelihood_rolling([asked(text)])
    assert value == pytest.approx(expected, rel=1e-5)


def test_answers_are_transformers_greedy_ones_up_to_a_stop(
    lm: EngineLM, reference: torch.nn.Module
) -> None:
    prompts = [TEXT[at : at + 150] for at in (0, 3000)]
    answers: list[str] = []
    for prompt in prompts:
        ids = torch.tensor([lm.tok_encode(prompt)])
        with torch.inference_mode():
            out = reference.generate(ids, max_new_tokens=24, do_sample=False, pad_token_id=0)  # pyright: ignore[reportCallIssue]
        answers.append(lm._llm.tokenizer.decode(out[0, ids.shape[1] :].tolist()))
    settings = {"until": [], "max_gen_toks": 24, "do_sample": False, "temperature": 0.7}
    assert lm.generate_until([asked(prompt, settings) for prompt in prompts]) == answers
    stop = answers[0][8:11]
    [cut] = lm.generate_until([asked(prompts[0], {**settings, "until": stop})])
    assert cut == answers[0][: answers[0].index(stop)]


def test_a_prompt_makes_room_for_its_answer(lm: EngineLM) -> None:
    settings = {"until": ["\n\n\n"], "max_gen_toks": 8}
    long, short = TEXT[:5000], lm._llm.tokenizer.decode(lm.tok_encode(TEXT[:5000])[-248:])
    assert lm.generate_until([asked(long, settings)]) == lm.generate_until([asked(short, settings)])
    with pytest.raises(ConfigError, match="max_gen_toks: 256"):
        lm.generate_until([asked("a", {"until": [], "max_gen_toks": 256})])


def test_settings_of_a_generation() -> None:
    from llmbench.harness.tasks.engine_lm import MOST_TOKENS, sampling_of

    plain = sampling_of({"until": "."})
    assert (plain.max_tokens, plain.temperature, plain.stop) == (MOST_TOKENS, 0.0, (".",))
    sampled = sampling_of({"do_sample": True, "temperature": 0.5, "top_p": 0.9, "max_tokens": 3})
    assert (sampled.temperature, sampled.top_p, sampled.max_tokens) == (0.5, 0.9, 3)
    assert sampling_of({"do_sample": False, "temperature": 0.5}).temperature == 0.0
    with pytest.raises(ConfigError, match=r"generation_kwargs\.num_beams"):
        sampling_of({"until": [], "num_beams": 4})
    assert math.isfinite(sampled.temperature)
