"""The workload file: what may stand in it, as data. Every field's description is its documentation.

    name: chat
    num_requests: 200
    arrivals: {kind: poisson, rate_per_s: 2.0}
    lengths:
      kind: sampled
      input: {kind: lognormal, mu: 6.63, sigma: 0.99, max_tokens: 4096}
      output: {kind: fixed, tokens: 64}

`WorkloadSpec.model_json_schema()`, or `llmbench workload schema`, is the same as a JSON Schema.
"""

from .arrivals import (
    Arrivals,
    AtOnce,
    Client,
    Clients,
    ClosedLoop,
    Constant,
    ExponentialRamp,
    Gamma,
    LinearRamp,
    Modulated,
    OnOff,
    Poisson,
    Replay,
    Stage,
    StageArrivals,
    Stages,
)
from .lengths import (
    FixedLength,
    HistogramLength,
    Length,
    Lengths,
    LognormalLength,
    NormalLength,
    PairLengths,
    QuantileLength,
    SampledLengths,
    TextLengths,
    TraceLengths,
    UniformLength,
)
from .prompts import (
    TEXTS,
    CorpusPrompts,
    DatasetPrompts,
    JsonlPrompts,
    Prompts,
    RandomPrompts,
    ShareGPTPrompts,
    TextPrompts,
)
from .sessions import (
    ExponentialThink,
    FixedThink,
    FixedTurns,
    GeometricTurns,
    LognormalThink,
    Sessions,
    Think,
    Turns,
    UniformThink,
    UniformTurns,
)
from .workload import WorkloadSpec

__all__ = [
    "TEXTS",
    "Arrivals",
    "AtOnce",
    "Client",
    "Clients",
    "ClosedLoop",
    "Constant",
    "CorpusPrompts",
    "DatasetPrompts",
    "ExponentialRamp",
    "ExponentialThink",
    "FixedLength",
    "FixedThink",
    "FixedTurns",
    "Gamma",
    "GeometricTurns",
    "HistogramLength",
    "JsonlPrompts",
    "Length",
    "Lengths",
    "LinearRamp",
    "LognormalLength",
    "LognormalThink",
    "Modulated",
    "NormalLength",
    "OnOff",
    "PairLengths",
    "Poisson",
    "Prompts",
    "QuantileLength",
    "RandomPrompts",
    "Replay",
    "SampledLengths",
    "Sessions",
    "ShareGPTPrompts",
    "Stage",
    "StageArrivals",
    "Stages",
    "TextLengths",
    "TextPrompts",
    "Think",
    "TraceLengths",
    "Turns",
    "UniformLength",
    "UniformThink",
    "UniformTurns",
    "WorkloadSpec",
]
