"""Model FLOPs utilisation."""

from __future__ import annotations

from typing import ClassVar

from ...engines.cost.floor import Roof
from .utilisation import StepDone, Utilisation


class ModelFlopsUtilisation(Utilisation):
    """Operations that the model needs for the tokens computed / (time x peak operations a second).

    Source: Chowdhery et al., PaLM, 2022, appendix B. Operations are those of
    `engines/cost/work.py`: two for each weight of the linear maps and token, 4 x layers x heads x
    head_dim for each query-key pair, the output projection for sampled rows. PaLM counts all pairs
    of a sequence; here those under the causal mask, half as many of a whole prompt. It leaves out
    what is computed again; here a step counts all that it computed, `recomputed_tokens` included.
    The peak is a device's, dense, in the dtype of the linear maps' product.
    Elsewhere: vidur "mfu"; of a decode step it is low whatever the engine, for memory binds there.
    """

    id: ClassVar[str] = "mfu"

    def done(self, step: StepDone) -> float:
        return step.flops

    def peak_per_s(self, peaks: Roof) -> float:
        return peaks.flops_per_s
