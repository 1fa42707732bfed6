"""Runs whose quality is set part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from llmbench.harness.result import Quality, TextParts
from llmbench.harness.storage.store import StoredRun
from numpy.typing import NDArray

from .observed import serve_in_turn
from .stored import stored_run

Numbers = Sequence[float] | NDArray[np.float64]

PART = 32
REFERENCE = "bundled in bfloat16, unquantised"


def quality_of(
    nll: Numbers,
    kl: Numbers | None = None,
    agreed: Sequence[int] | None = None,
    *,
    keeps_parts: bool = True,
    **said: Any,
) -> Quality:
    """nll, kl: nats a token in each part of 32 tokens. agreed: tokens of it. The numbers beside
    them are worked out as docs/quality.md says."""
    tokens = PART * len(nll)
    parts = TextParts(
        tokens=(PART,) * len(nll),
        nll=tuple(PART * float(one) for one in nll),
        kl=None if kl is None else tuple(PART * float(one) for one in kl),
        agreed=None if agreed is None else tuple(agreed),
    )
    text = {
        "reference": REFERENCE,
        "perplexity": float(np.exp(np.mean(nll))),
        "perplexity_text": "a text",
        "perplexity_window_tokens": 2048,
        "perplexity_tokens": tokens,
        "text_kl_mean": None if kl is None else float(np.mean(kl)),
        "text_top1_agreement": None if agreed is None else sum(agreed) / tokens,
        "text_parts": parts if keeps_parts else None,
        "text_fingerprint": f"{tokens} tokens" if keeps_parts else "",
    }
    return Quality.model_validate(text | said)


@cache
def _served() -> StoredRun:
    return stored_run(*serve_in_turn(125), config={"seed": 0})


def judged_run(quality: Quality | None, label: str = "a", **config: Any) -> StoredRun:
    """A closed loop of one that runs for ten seconds, whose weights had that quality."""
    base = _served()
    changed = {"quality": quality, "label": label, "run_id": f"{label}-{id(quality)}"}
    changed["config"] = {**base.result.config, **config}
    result = base.result.model_copy(update=changed)
    return replace(base, directory=base.directory.with_name(label), result=result)
