"""A task that needs no hub: pick the true continuation of a passage among those of others.

Every choice is text of the same corpus and of equally many words, so only the passage tells them
apart. Chance is one in `CHOICES`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...engines.errors import ConfigError

NAME = "continuation"
VERSION = 1
DOCUMENTS = 200
CHOICES = 4
CONTEXT_WORDS = 40
CONTINUATION_WORDS = 10
# A word with the space before it: joined again, they are the text.
_WORD = re.compile(r"\s*\S+")


def documents(text: str, seed: int, count: int = DOCUMENTS) -> list[dict[str, Any]]:
    """Passages of a text, which do not overlap, spread evenly over it; fewer where it is short.

    context: a passage's first words. choices: its next ones and those of other passages. label:
    which is its own. Same text and seed, same documents. Raises ConfigError for a text that has
    fewer passages than a document has choices.
    """
    words = _WORD.findall(text)
    length = CONTEXT_WORDS + CONTINUATION_WORDS
    starts = range(0, len(words) - length + 1, length)
    if len(starts) < CHOICES:
        least = CHOICES * length
        raise ConfigError("corpus", f"{len(words)} words", f"at least {least} words of text")
    count = min(count, len(starts))
    chosen = [starts[at * len(starts) // count] for at in range(count)]
    if count < CHOICES:
        raise ConfigError("documents", count, f"at least {CHOICES}")
    passages = [
        ("".join(words[at : at + CONTEXT_WORDS]), "".join(words[at + CONTEXT_WORDS : at + length]))
        for at in chosen
    ]
    rng = random.Random(seed)
    return [_document(at, passages, rng) for at in range(count)]


def _document(at: int, passages: Sequence[tuple[str, str]], rng: random.Random) -> dict[str, Any]:
    context, own = passages[at]
    others = rng.sample([one for one in range(len(passages)) if one != at], CHOICES - 1)
    choices = [passages[other][1] for other in others]
    label = rng.randrange(CHOICES)
    choices.insert(label, own)
    return {"context": context, "choices": choices, "label": label}


def task(text: str, seed: int) -> Mapping[str, Any]:
    """The task as lm-eval takes one in place of a YAML file."""

    def dataset(**_: object) -> Mapping[str, Any]:
        from datasets import Dataset

        return {"test": Dataset.from_list(documents(text, seed))}

    return {
        "task": NAME,
        "custom_dataset": dataset,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "context",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        # A choice begins with the space before its first word.
        "target_delimiter": "",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        ],
        "metadata": {"version": VERSION},
    }
