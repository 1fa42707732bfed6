"""Making lengths fit: the user's caps, then the model's length; each change is put in words."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .api import LengthLimits, WorkloadError
from .lengths import Tokens


def fit_lengths(
    pairs: Tokens, limits: LengthLimits, fit: Literal["error", "clip"]
) -> tuple[Tokens, tuple[str, ...]]:
    """(pairs that fit, what was done). pairs: [requests, 2] tokens: input, output.

    Raises WorkloadError when a pair is longer than the model after the user's caps, unless `fit`
    is "clip". Then the input is clipped to what the reply leaves; a reply that leaves less than
    half of the model's length is first clipped to half of it, or to what its own prompt leaves
    where that is more.
    """
    notes: list[str] = []
    inputs = _capped("input", pairs[:, 0], limits.max_input_tokens, notes)
    outputs = _capped("output", pairs[:, 1], limits.max_output_tokens, notes)
    total = limits.max_total_tokens
    too_long = inputs + outputs > total
    if too_long.any():
        if fit == "error":
            raise _too_long(inputs, outputs, total)
        fitting_outputs = np.minimum(outputs, np.maximum(total // 2, total - inputs))
        cut_outputs = int((fitting_outputs < outputs).sum())
        inputs = np.minimum(inputs, total - fitting_outputs)
        outputs = fitting_outputs
        note = f"{too_long.sum()} of {len(pairs)} requests clipped to the model's {total} tokens"
        notes.append(note + (f" ({cut_outputs} of them in the output too)" if cut_outputs else ""))
    return np.stack((inputs, outputs), axis=1), tuple(notes)


def _capped(side: str, tokens: Tokens, cap: int | None, notes: list[str]) -> Tokens:
    empty = int((tokens < 1).sum())
    if empty:
        notes.append(f"{side} length raised to 1 token for {empty} of {len(tokens)} requests")
    longer = 0 if cap is None else int((tokens > cap).sum())
    if longer:
        notes.append(
            f"{side} length clipped to {cap} tokens for {longer} of {len(tokens)} requests"
        )
    return np.clip(tokens, 1, cap)


def _too_long(inputs: Tokens, outputs: Tokens, total: int) -> WorkloadError:
    totals = inputs + outputs
    longest = int(totals.argmax())
    room = total - int(outputs.max())
    example = f" (--max-input-len {room} would do)" if room >= 1 else ""
    return WorkloadError(
        "lengths",
        f"{inputs[longest]} + {outputs[longest]} tokens",
        f"at most {total} in all: cap them with --max-input-len / --max-output-len{example}",
        f"(request {longest}) is longer than the model, as are {(totals > total).sum()} of "
        f"{len(totals)} requests",
    )
