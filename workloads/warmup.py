"""What is sent before the measured run, so that nothing is measured cold."""

from __future__ import annotations

import math

from .overrides import with_overrides
from .spec import TEXTS, CorpusPrompts, FixedLength, SampledLengths, WorkloadSpec

_READ_INPUT = FixedLength(kind="fixed", tokens=128)
_READ_OUTPUT = FixedLength(kind="fixed", tokens=16)


def warmup_workload(spec: WorkloadSpec, num_requests: int) -> WorkloadSpec:
    """A few requests of the same shape, all at once; plan it with another seed.

    Prompts that are read from a file are replaced by runs of the corpus, for the file's own would
    warm a prefix cache with what is measured next, whatever the seed.
    """
    if isinstance(spec.prompts, TEXTS):
        lengths = SampledLengths(kind="sampled", input=_READ_INPUT, output=_READ_OUTPUT)
        read = {"prompts": CorpusPrompts(), "lengths": lengths, "sessions": None, "fit": "clip"}
        spec = spec.model_copy(update=read)
    return with_overrides(spec, num_requests=num_requests, request_rate=math.inf)
