"""What an engine knows of its requests, step by step."""

from __future__ import annotations

from dataclasses import replace

from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.trace import Chunks, ChunkTrace
from llmbench.harness.serve.lives import Lives, StepSeen

from ..observed import make_step


def test_what_was_its_own_before_a_preemption_is_no_hit() -> None:
    """Of 48 tokens 16 are found; then it is preempted, and finds the 32 that it computed itself."""
    lives = Lives()
    life = lives.begin(Request("r", list(range(48)), SamplingParams(max_tokens=4)))
    for start, cached in ((16, 16), (32, 32)):
        chunk = ChunkTrace("r", "prefill", start, 48 - start, cached_tokens=cached)
        step = replace(make_step(), chunks=Chunks.of([chunk]))
        lives.note_step(StepSeen.of(step), [])
    assert life.cached_tokens == 16
    assert lives.waiting == 0
