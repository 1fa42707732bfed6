"""How much of a step's model time its decodes would have taken without the prompts beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .layout import Floats

Ints = NDArray[np.int64]

# A decode-only step is comparable if it decodes within this factor as many tokens.
WIDTH_FACTOR = 1.25
# With fewer comparable steps their median says more of chance than of a typical step.
FEWEST_STEPS = 8


@dataclass(frozen=True)
class Told:
    """The model time of each step, told apart: [steps] each.

    decode_share: the decodes' part of it. mixed: both phases are in the step.
    by_evidence: the share was measured on decode-only steps of this run.
    """

    decode_share: Floats
    mixed: NDArray[np.bool_]
    by_evidence: NDArray[np.bool_]


def tell_apart(prefill_tokens: Ints, decode_tokens: Ints, model_s: Floats) -> Told:
    """Split each step's model time between its decodes and its prefills.

    By evidence: the decodes of a mixed step take the median model time of this run's decode-only
    steps that decode a comparable number of tokens (within a factor of 1.25, at least 8 of them),
    and never more than the step's own; what the step took beyond that, the prefills cost. This
    measures interference as the difference that the prompts made. The length of the contexts is
    not matched: it is taken to be alike over the run.

    By tokens, where there are too few such steps: in proportion to the tokens of either phase. A
    decode's token costs more than a prompt's in a step bound by memory bandwidth, so this gives
    too much to the prefills; it is a bound, and the result says how many steps it was used for.
    """
    decodes, prompts = decode_tokens > 0, prefill_tokens > 0
    mixed = decodes & prompts
    tokens = np.maximum(decode_tokens + prefill_tokens, 1)
    share = decode_tokens / tokens
    typical_s = _typical_s(decode_tokens, model_s, of=decodes & ~prompts, at=mixed)
    by_evidence = mixed & np.isfinite(typical_s) & (model_s > 0)
    measured = np.divide(typical_s, model_s, out=np.ones_like(model_s), where=by_evidence)
    return Told(np.where(by_evidence, np.minimum(measured, 1.0), share), mixed, by_evidence)


def _typical_s(
    width: Ints, model_s: Floats, *, of: NDArray[np.bool_], at: NDArray[np.bool_]
) -> Floats:
    """The median model time of the steps `of` that are about as wide, for each step `at`; NaN
    elsewhere and where there are too few."""
    order = np.argsort(width[of], kind="stable")
    widths, times_s = width[of][order], model_s[of][order]
    asked, which = np.unique(width[at], return_inverse=True)
    low = np.searchsorted(widths, asked / WIDTH_FACTOR, side="left")
    high = np.searchsorted(widths, asked * WIDTH_FACTOR, side="right")
    medians = np.array(
        [
            np.median(times_s[one:other]) if other - one >= FEWEST_STEPS else np.nan
            for one, other in zip(low, high, strict=True)
        ],
        dtype=np.float64,
    )
    found = np.full(len(width), np.nan)
    found[at] = medians[which]
    return found
