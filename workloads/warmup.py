"""What is sent before the measured run, so that nothing is measured cold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .api import PlannedRequest
from .overrides import with_overrides
from .spec import (
    TEXTS,
    CorpusPrompts,
    FixedLength,
    PairLengths,
    SampledLengths,
    TraceLengths,
    WorkloadSpec,
)

_READ_INPUT = FixedLength(kind="fixed", tokens=128)
_READ_OUTPUT = FixedLength(kind="fixed", tokens=16)


def warmup_workload(spec: WorkloadSpec, measured: Sequence[PlannedRequest]) -> WorkloadSpec:
    """As many requests as `measured` has, the plan's first, of the same shape and all at once; plan
    it with another seed.

    What says the same whatever the seed is replaced, or it would warm a prefix cache with what is
    measured next: prompts that are read from a file, by runs of the corpus; the prefix blocks and
    sessions of a trace, by prompts as long that share nothing; a beginning of the corpus that
    prompts share, by none.
    """
    # A longer one than the model takes is in nobody's load: it may not refuse the run.
    own: dict[str, Any] = {"fit": "clip"}
    if isinstance(spec.prompts, TEXTS):
        lengths = SampledLengths(kind="sampled", input=_READ_INPUT, output=_READ_OUTPUT)
        own |= {"prompts": CorpusPrompts(), "lengths": lengths, "sessions": None}
    elif isinstance(spec.prompts, CorpusPrompts):
        own["prompts"] = CorpusPrompts()
    if isinstance(spec.lengths, TraceLengths):
        pairs = tuple((len(one.prompt_token_ids), one.output_tokens) for one in measured)
        own["lengths"] = PairLengths(kind="pairs", pairs=pairs)
    spec = spec.model_copy(update=own)
    return with_overrides(spec, num_requests=len(measured), request_rate=math.inf)
