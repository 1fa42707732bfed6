"""How much of an output projection a greedy step computes that has a screen: random weights.

python -m tests.evidence.screened
"""

from __future__ import annotations

from statistics import mean
from unittest.mock import patch

import torch
from llmbench.kernels.dispatch import Implementation
from llmbench.kernels.native import screen
from llmbench.kernels.registry import implementations
from llmbench.kernels.specs.attention import AttentionCase
from llmbench.kernels.specs.decoder import DECODER_STEP
from llmbench.kernels.specs.decoder_cases import DecoderCase
from llmbench.kernels.specs.spec import Draw

CPU, BF16 = torch.device("cpu"), torch.bfloat16
INPUTS, ROWS, VOCAB, DRAWS = (576, 2048, 4096, 8192), (1, 2, 4), 32_000, 3


def native() -> Implementation:
    """The first that this processor runs."""
    return next(one for one in implementations("decoder_step") if one.is_chosen_on(CPU, BF16))


def computed_share(inputs: int, rows: int) -> float:
    """Of all logits of so many rows, the mean over draws."""
    one = native()
    ones = (1,) * rows
    case = DecoderCase(
        AttentionCase(ones, ones, head_dim=16, kv_heads=1, group=1, block_size=16),
        hidden=inputs,
        vocab=VOCAB,
        layers=1,
        all_logits=True,
        argmax_only=True,
    )
    shares = []
    for seed in range(DRAWS):
        call = DECODER_STEP.make(case, Draw(CPU, BF16, seed, one.name))
        logits = call.prepared(one.function)(*call.arguments)
        shares.append(float((logits != -torch.inf).float().mean()))
    return mean(shares)


def main() -> None:
    print(f"share of {VOCAB} logits that are computed, for {', '.join(map(str, ROWS))} rows")
    with patch.object(screen, "most_rows", lambda _target, _inputs: max(ROWS)):
        for inputs in INPUTS:
            shares = (f"{computed_share(inputs, rows):6.1%}" for rows in ROWS)
            print(f"{inputs:5} inputs", *shares)


if __name__ == "__main__":
    main()
