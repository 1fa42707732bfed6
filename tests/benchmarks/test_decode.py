"""Decode throughput beside transformers' `generate`, in the same process with the same threads.

Goal: at least 1.5 times generate's tokens a second at batch 1 and 8 (`extra_info.ratio`).
"""

from __future__ import annotations

import time
from statistics import median

import pytest
import torch
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.assemble import build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.engines.resolve import resolve

PROMPT_TOKENS = 64
OUTPUT_TOKENS = 48
ROUNDS = 5


def engine_decode_s(core, prompts: list[tuple[int, ...]]) -> tuple[float, float]:
    """Seconds of decode steps a token step, and the share of them outside the model."""
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), prompt, SamplingParams(OUTPUT_TOKENS, ignore_eos=True)))
    steps = []
    while core.has_work():
        trace = core.step().trace
        if trace is not None and not trace.prefill_tokens:
            steps.append(trace)
    spent_s = [step.end_s - step.start_s for step in steps]
    outside_s = [
        step.phases.schedule_s + step.phases.prepare_s + step.phases.host_s for step in steps
    ]
    return median(spent_s), median(outside_s) / median(spent_s)


def generate_decode_s(model, prompts: list[tuple[int, ...]]) -> float:
    """Seconds of `generate` a token step: a long call less a call of one token."""
    ids = torch.tensor(prompts)
    took_s = []
    for new_tokens in (1, OUTPUT_TOKENS):
        start_s = time.perf_counter()
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
        )
        took_s.append(time.perf_counter() - start_s)
    return (took_s[1] - took_s[0]) / (OUTPUT_TOKENS - 1)


@pytest.mark.benchmark(group="decode step")
@pytest.mark.parametrize("engine", ["paged", "inflight"])
@pytest.mark.parametrize("batch", [1, 8])
def test_decode_beside_generate(
    benchmark, files: ModelFiles, prompt_text: str, batch: int, engine: str
) -> None:
    from transformers import AutoModelForCausalLM

    settings = resolve(engine_config(engine, max_model_len=1024), files)
    core = build_engine(load_model(files, settings), settings, WallClock())
    dtype = getattr(torch, settings.dtype)
    peer = AutoModelForCausalLM.from_pretrained(files.directory, dtype=dtype).eval()
    ids = load_tokenizer(files.directory).encode(prompt_text, add_special_tokens=False)
    prompts = [tuple(ids[i * PROMPT_TOKENS : (i + 1) * PROMPT_TOKENS]) for i in range(batch)]
    engine_decode_s(core, prompts)
    generate_decode_s(peer, prompts)
    pairs = [
        (engine_decode_s(core, prompts), generate_decode_s(peer, prompts)) for _ in range(ROUNDS)
    ]
    ours_s = median(ours for (ours, _), _ in pairs)
    benchmark.extra_info |= {
        "batch": batch,
        "dtype": settings.dtype,
        "threads": torch.get_num_threads(),
        "decode_tokens_per_s": round(batch / ours_s, 1),
        "generate_tokens_per_s": round(batch / median(theirs for _, theirs in pairs), 1),
        "ratio": round(median(theirs / ours for (ours, _), theirs in pairs), 2),
        "share_outside_model": round(median(share for (_, share), _ in pairs), 4),
    }
    print(f"\n{engine} batch {batch}: {dict(benchmark.extra_info)}")
    benchmark.pedantic(engine_decode_s, args=(core, prompts), rounds=2)
