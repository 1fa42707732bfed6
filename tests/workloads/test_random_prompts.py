"""Random prompts: exactly as long as asked, every one of them, and uniform over plain tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.api import LengthLimits, Plan, TextEncoder, WorkloadError, plan_workload
from llmbench.workloads.lengths import sample_pairs
from llmbench.workloads.load import parse_spec
from llmbench.workloads.spec import LognormalLength
from scipy.stats import chisquare

LOGNORMAL = {"kind": "lognormal", "mu": 4, "sigma": 1, "max_tokens": 900}
LENGTHS = {"kind": "sampled", "input": LOGNORMAL, "output": LOGNORMAL}
# Ids 0 to 9 and 500 are no text.
ENCODER = TextEncoder(
    encode=lambda text: [11] * len(text),
    decode=lambda ids: "x" * len(ids),
    vocab_size=600,
    special_ids=frozenset((*range(10), 500)),
)


def planned(
    n: int = 50, seed: int = 0, encoder: TextEncoder | None = ENCODER, vocab_size: int | None = 640
) -> Plan:
    spec = {"num_requests": n, "arrivals": {"kind": "at_once"}, "lengths": LENGTHS}
    return plan_workload(
        parse_spec({**spec, "prompts": {"kind": "random"}}),
        seed=seed,
        corpus_token_ids=range(5),
        limits=LengthLimits(None, None, 10_000),
        vocab_size=vocab_size,
        encoder=encoder,
    )


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_every_prompt_has_exactly_the_tokens_that_were_drawn(n: int, seed: int) -> None:
    """92 % of another tool's random prompts had not: it sent text, which comes back from the
    tokenizer with another length. The lengths are drawn here a second time, by hand."""
    length = LognormalLength(kind="lognormal", mu=4, sigma=1, max_tokens=900)
    rng = np.random.default_rng(seed).spawn(3)[1]
    drawn = sample_pairs(n, length, length, 0.0, rng)
    plan = planned(n, seed)
    assert [len(one.prompt_token_ids) for one in plan.requests] == drawn[:, 0].tolist()
    assert [one.output_tokens for one in plan.requests] == drawn[:, 1].tolist()
    told = plan.description["input_tokens"]
    assert isinstance(told, dict)
    assert told["mean"] == pytest.approx(drawn[:, 0].mean())


def test_tokens_are_uniform_over_the_vocabulary_without_special_ones() -> None:
    ids = np.concatenate([one.prompt_token_ids for one in planned(400).requests])
    counts = np.bincount(ids, minlength=600)
    assert len(counts) == 600
    special = sorted(ENCODER.special_ids)
    assert counts[special].sum() == 0
    assert chisquare(np.delete(counts, special)).pvalue > 1e-4


def test_the_smaller_vocabulary_counts() -> None:
    """A model may have fewer rows than its tokenizer gives ids, and the other way round."""
    assert max(max(one.prompt_token_ids) for one in planned(vocab_size=50).requests) < 50
    plain = planned(encoder=None, vocab_size=5)
    assert {token for one in plain.requests for token in one.prompt_token_ids} == {0, 1, 2, 3, 4}


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones() -> None:
    assert planned(seed=1).fingerprint() == planned(seed=1).fingerprint()
    heads = [
        tuple(one.prompt_token_ids[:6]) for seed in (1, 2) for one in planned(seed=seed).requests
    ]
    assert len(set(heads)) == 100


def test_no_vocabulary_no_prompts() -> None:
    with pytest.raises(WorkloadError, match="expected a model whose vocabulary is known"):
        planned(encoder=None, vocab_size=None)
    with pytest.raises(WorkloadError, match="expected a vocabulary with tokens that are not speci"):
        planned(vocab_size=9)
