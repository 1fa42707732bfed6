"""Model bandwidth utilisation."""

from __future__ import annotations

from typing import ClassVar

from ...engines.cost.floor import Roof
from .utilisation import StepDone, Utilisation


class ModelBandwidthUtilisation(Utilisation):
    """Bytes that the model needs moved for the tokens computed / (time x peak bytes a second).

    Source: Databricks, LLM Inference Performance Engineering: Best Practices, 2023: (weights + KV
    cache) / TPOT / peak bandwidth. Bytes are those of `engines/cost/floor.py`: weights once a step,
    as they are stored, keys and values read once for each sequence and written once; activations
    may stay in a cache and are left out.
    Elsewhere: gpt-fast counts weights alone, and times tokens instead of steps; vidur "mbu".
    """

    id: ClassVar[str] = "mbu"

    def done(self, step: StepDone) -> float:
        return step.bytes_moved

    def peak_per_s(self, peaks: Roof) -> float:
        return peaks.bytes_per_s
