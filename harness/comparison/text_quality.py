"""Whether two runs' quality is of the same thing, and what its interval is resampled from.

On a text every number is a mean over tokens, and another text would give another. Both runs read
the same one, so its stretches are pairs: what is hard in one is hard for both, and cancels. What is
over each run's own answers is of the same tokens only where the answers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..result import Quality, Result
from ..stats.bootstrap import Sample, Statistic
from .quantities import Quantity

# Whose sums over the text's parts make the statistic, and how.
_SUMS = {
    "perplexity": ("nll", Statistic(of_logs=True)),
    "text_kl_mean": ("kl", Statistic()),
    "text_top1_agreement": ("agreed", Statistic()),
}
_OF_ANSWERS = ("kl_mean", "top1_agreement")
# Enough that Student's t of a family of comparisons reaches no farther than it must: of 4 blocks an
# interval that holds together with 30 others is 3.5 times as wide as at 95 %, of 16 it is 1.8.
_BLOCKS = 16
# A text keeps to its subject for thousands of tokens, far longer than a queue lasts, so that blocks
# of one stretch look more alike than stretches of one work are: the distance of a stretch from its
# work is so many times what its blocks show (`tests/evidence/text_quality.py`).
ALLOWANCE = 1.3
# Blocks of fewer are a sentence or two each.
FEWEST_TOKENS = 500
NO_PARTS = "quality was stored as one number, without the parts of the text that an interval takes"
ONE_NUMBER = "a p99 of KL, or what is over answers, is stored as one number and has no interval"


def of_answers(quantity: Quantity) -> bool:
    """Whether it is over a run's own answers, and not over a text."""
    return quantity.kind == "quality" and quantity.stat in _OF_ANSWERS


def unlike(quantity: Quantity, one: Result, other: Result) -> str:
    """Why two numbers of quality are not of the same thing; empty if they are."""
    ours, theirs = one.quality, other.quality
    if ours is None or theirs is None:
        return ""
    why = _other_answers(ours, theirs) if of_answers(quantity) else other_text(one, other)
    if not why and quantity.stat != "perplexity" and ours.reference != theirs.reference:
        return f"distances are to different models ({ours.reference} / {theirs.reference})"
    return why


def other_text(one: Result, other: Result) -> str:
    """Why two runs did not judge the same tokens of text; empty if they did, or one judged none."""
    ours, theirs = one.quality, other.quality
    if ours is None or theirs is None or ours.perplexity is None or theirs.perplexity is None:
        return ""
    if _text_of(ours) != _text_of(theirs):
        return "quality was measured on different text or windows"
    if not (ours.text_fingerprint and theirs.text_fingerprint):
        if one.config["model"] != other.config["model"]:
            return "quality is of different models, which are not known to have one tokenizer"
    elif ours.text_fingerprint != theirs.text_fingerprint:
        return "quality was measured on different tokens: another text, or another tokenizer"
    return ""


def _text_of(quality: Quality) -> tuple[object, ...]:
    return quality.perplexity_text, quality.perplexity_window_tokens, quality.perplexity_tokens


def _other_answers(ours: Quality, theirs: Quality) -> str:
    if not (ours.answers_fingerprint and theirs.answers_fingerprint):
        return "it is over each run's own answers, which are not known to be the same"
    if ours.answers_fingerprint != theirs.answers_fingerprint:
        return "it is over each run's own answers, and they are not the same"
    return ""


def has_parts(quantity: Quantity, results: Sequence[Result]) -> bool:
    """Whether all the results show how sure it is."""
    return all(sample_of(quantity, [one]) is not None for one in results)


def sample_of(quantity: Quantity, results: Sequence[Result]) -> Sample | None:
    """Sums over each part of the text for its tokens; of several runs, which read the same text,
    of all together. None where a result keeps no parts, or some keep others; and of what is no mean
    over the text."""
    if quantity.stat not in _SUMS:
        return None
    name, _ = _SUMS[quantity.stat]
    parts = [one.quality.text_parts if one.quality else None for one in results]
    sums = [getattr(one, name) for one in parts if one is not None]
    alike = len({one.tokens if one is not None else None for one in parts}) == 1
    if not alike or len(sums) < len(results) or any(one is None for one in sums):
        return None
    tokens = np.array([one.tokens for one in parts if one is not None], dtype=np.float64)
    of_each = np.array(sums, dtype=np.float64).sum(axis=0)
    return Sample(of_each, np.arange(len(of_each)), len(of_each), tokens.sum(axis=0))


def pair_of(
    quantity: Quantity, before: Sequence[Result], after: Sequence[Result]
) -> tuple[Sample, Sample] | None:
    """Both sides' samples, part by part of the same text; None where a run keeps no parts, or
    others."""
    samples = sample_of(quantity, before), sample_of(quantity, after)
    if samples[0] is None or samples[1] is None:
        return None
    return (samples[0], samples[1]) if samples[0].num_units == samples[1].num_units else None


def statistic_of(quantity: Quantity) -> Statistic:
    """What the mean over `sample_of` comes to."""
    return _SUMS[quantity.stat][1]


def why_no_interval(quantity: Quantity) -> str:
    """Of runs that judged the same, where there is no pair of samples."""
    return NO_PARTS if quantity.stat in _SUMS else ONE_NUMBER


def block_of(sample: Sample) -> int:
    """Parts that are drawn together."""
    return max(1, -(-sample.num_units // _BLOCKS))


def too_little_text(results: Sequence[Result]) -> str:
    """Why nothing can be concluded of quality, whatever the interval; empty if something can."""
    fewest = min((one.quality.perplexity_tokens or 0) if one.quality else 0 for one in results)
    if fewest < FEWEST_TOKENS:
        return f"{fewest} tokens of text are too few to compare quality (at least {FEWEST_TOKENS})"
    return ""
