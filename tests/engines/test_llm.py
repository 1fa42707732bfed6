"""The Python API of the README."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines import LLM, SamplingParams
from llmbench.engines.errors import ConfigError


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM("bundled", engine="paged", max_model_len=128, dtype="float32")


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


def test_a_quantised_cache_is_an_override_like_any() -> None:
    llm = LLM("bundled", kv_dtype="int8", kv_memory_bytes=2**20, max_model_len=128, dtype="float32")
    assert llm.config.kv_dtype == "int8"
    (output,) = llm.generate("In the beginning", SamplingParams(max_tokens=4, ignore_eos=True))
    assert len(output.token_ids) == 4
    with pytest.raises(ConfigError, match=r"kv_dtype: 'int4'.*did you mean 'int8'"):
        LLM("bundled", kv_dtype="int4")
