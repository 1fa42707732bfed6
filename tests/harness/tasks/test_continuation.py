"""Documents of the task that ships, made from texts that are counted by hand."""

from __future__ import annotations

import random
import re

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.bundled import heldout_text
from llmbench.harness.tasks.continuation import (
    CHOICES,
    CONTEXT_WORDS,
    CONTINUATION_WORDS,
    DOCUMENTS,
    documents,
)

LENGTH = CONTEXT_WORDS + CONTINUATION_WORDS


def numbered(words: int) -> str:
    """Words w0, w1, … with spaces of several kinds between them."""
    rng = random.Random(words)
    return "".join(rng.choice((" ", "\n", "  ")) + f"w{at}" for at in range(words))


def test_a_context_and_its_own_choice_are_the_text_itself() -> None:
    text = numbered(10 * LENGTH + 7)
    found = documents(text, seed=3)
    assert len(found) == 10
    for at, one in enumerate(found):
        assert len(one["choices"]) == CHOICES == len(set(one["choices"]))
        passage = one["context"] + one["choices"][one["label"]]
        assert passage in text
        assert re.findall(r"\d+", passage) == [str(at * LENGTH + word) for word in range(LENGTH)]
        for choice in one["choices"]:
            assert len(choice.split()) == CONTINUATION_WORDS
            assert choice in text
            assert choice not in one["context"]


def test_the_same_seed_gives_the_same_documents_and_labels_are_spread() -> None:
    text = heldout_text()
    first = documents(text, seed=0)
    assert documents(text, seed=0) == first
    assert documents(text, seed=1) != first
    assert len(first) == DOCUMENTS
    counts = [sum(one["label"] == label for one in first) for label in range(CHOICES)]
    assert min(counts) > DOCUMENTS / CHOICES / 2
    assert len({one["context"] for one in first}) == DOCUMENTS


def test_fewer_documents_are_spread_over_the_whole_text() -> None:
    found = documents(numbered(100 * LENGTH), seed=0, count=5)
    firsts = [int(one["context"].split()[0][1:]) for one in found]
    assert firsts == [0, 20 * LENGTH, 40 * LENGTH, 60 * LENGTH, 80 * LENGTH]


def test_a_text_too_short_is_refused() -> None:
    assert len(documents(numbered(CHOICES * LENGTH), seed=0)) == CHOICES
    with pytest.raises(ConfigError, match=f"at least {CHOICES * LENGTH} words"):
        documents(numbered(CHOICES * LENGTH - 1), seed=0)
