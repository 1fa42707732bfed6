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


DEVICE = "cuda"
# What weights and the cache are made of: every kernel that a GPU has for them.
FORMS = (
    *({"quant": quant} for quant in ("none", "rtn", "int8", "w8a8", "fp8", "nvfp4")),
    *({"kv_dtype": codes} for codes in ("int8", "fp8")),
)


def serve(
    preset: str, *, longest_prompt: int = 50, **changes
) -> tuple[dict[str, list[int | None]], list[StepTrace]]:
    files = resolve_model("bundled")
    engine = resolve(
        engine_config(
            preset,
            **{"device": DEVICE, "dtype": "float32", "kv_memory_bytes": 2**24, **changes},
            max_model_len=longest_prompt + 46,
            max_num_seqs=9,
        ),
        files,
    )
    core = build_engine(load_model(files, engine), engine, WallClock())
    draw = random.Random(7)
    for index in range(12):
        prompt = tuple(draw.randrange(3, 400) for _ in range(draw.randint(1, longest_prompt)))
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


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(*form.items()))
@pytest.mark.parametrize("preset", ["paged", "inflight"])
def test_what_is_prepared_while_a_step_runs_changes_nothing(
    preset: str, form: dict[str, str]
) -> None:
    """The schedule is the same, and so is every sum: bit by bit, in any arithmetic. A buffer that
    is written too early, or read too late, shows here. Prompts are long enough for attention that
    shares a sequence out."""
    long = {"longest_prompt": 320, "dtype": "bfloat16", **form}
    waiting, _ = serve(preset, async_scheduling=False, **long)
    ahead, _ = serve(preset, async_scheduling=True, **long)
    assert ahead == waiting
    assert all(token is not None and token >= 0 for one in ahead.values() for token in one)


@pytest.mark.parametrize(("codes", "room"), [("auto", 2**21), ("fp8", 2**19)])
def test_swapped_keys_and_values_come_back(codes: str, room: int) -> None:
    """More sequences than the cache holds, of which some wait on the host."""
    alike = {"longest_prompt": 200, "kv_dtype": codes}
    roomy, _ = serve("paged", **alike)
    tokens, steps = serve("paged", kv_memory_bytes=room, preemption="swap", **alike)
    assert any(step.swapped_out for step in steps)
    assert {name: len(one) for name, one in tokens.items()} == {
        name: len(one) for name, one in roomy.items()
    }
    # Codes may go either way where a batch of another size rounds apart.
    assert codes != "auto" or tokens == roomy
