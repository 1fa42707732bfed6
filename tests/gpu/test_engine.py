"""On a GPU: what is pipelined and replayed says what is launched step by step."""

from __future__ import annotations

import random

import pytest
import torch
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.assemble import build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.resolve import resolve
from llmbench.engines.trace import StepTrace

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def serve(preset: str, **changes) -> tuple[dict[str, list[int | None]], list[StepTrace]]:
    files = resolve_model("bundled")
    engine = resolve(
        engine_config(
            preset,
            device="cuda",
            dtype="float32",
            max_model_len=96,
            max_num_seqs=9,
            kv_memory_bytes=2**24,
            **changes,
        ),
        files,
    )
    core = build_engine(load_model(files, engine), engine, WallClock())
    draw = random.Random(7)
    for index in range(12):
        prompt = tuple(draw.randrange(3, 400) for _ in range(draw.randint(1, 50)))
        length = draw.randint(1, 30)
        sampling = SamplingParams(length, temperature=0.8 * (index % 2), seed=3, ignore_eos=True)
        core.add(Request(str(index), prompt, sampling))
    tokens: dict[str, list[int | None]] = {}
    steps: list[StepTrace] = []
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert not event.detail, event.detail
            tokens.setdefault(event.request_id, []).append(event.token_id)
        if outcome.trace is not None:
            steps.append(outcome.trace)
    return tokens, steps


@pytest.mark.parametrize(
    ("preset", "quant"),
    [("paged", "none"), ("inflight", "none"), ("vllm-v1", "none"), ("paged", "int8")],
)
def test_the_same_tokens_whatever_is_prepared_or_captured(preset: str, quant: str) -> None:
    plain, _ = serve(preset, quant=quant, async_scheduling=False, cuda_graphs="off")
    for scheduling in (False, True):
        tokens, steps = serve(preset, quant=quant, async_scheduling=scheduling, cuda_graphs="on")
        assert tokens == plain
        assert all(step.device_s > 0 for step in steps if step.chunks)
        assert not any(step.synchronous for step in steps)
