"""Tiny random models of several families, as transformers saves them, and how they are served."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.pipeline import Core
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.trace import StepTrace

from ..rounding import RoundingCache
from .tiny import VOCAB, greedy

PROMPT_TOKENS = (30, 5, 1, 17)
OUTPUT_TOKENS = 10
LENGTH = 64

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED: dict[str, Any] = SHAPE | {
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "head_dim": 16,
}

FAMILIES: dict[str, Callable[[], Any]] = {
    # Rotates a quarter of a head; attention and MLP side by side.
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SHAPE, intermediate_size=80),
    # Learnt positions, two places off.
    "opt": lambda: transformers.OPTConfig(**SHAPE, ffn_dim=80, word_embed_proj_dim=48),
    # Windows in some layers only, and scales of its own.
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **GROUPED,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    # Experts.
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(
        **GROUPED, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24
    ),
}


@dataclass(frozen=True)
class Family:
    """A tiny random model as transformers saved it, loaded through an engine's way."""

    name: str
    reference: Any
    files: ModelFiles
    loaded: LoadedModel
    prompts: list[list[int]]
    expected: list[list[int]]

    def expected_of(self, kv_dtype: str) -> list[list[int]]:
        """What `generate` answers where keys and values are stored so."""
        if kv_dtype == "auto":
            return self.expected
        return [
            greedy(self.reference, prompt, OUTPUT_TOKENS, RoundingCache(kv_dtype))
            for prompt in self.prompts
        ]


def settings(**changes: Any) -> EngineConfig:
    return engine_config(
        "paged",
        **{
            "dtype": "float32",
            "device": "cpu",
            "max_model_len": LENGTH,
            "max_num_seqs": 4,
            "kv_memory_bytes": 2**20,
            **changes,
        },
    )


def save(name: str, directory: Path) -> Any:
    """The transformers model, every parameter random, after writing it to `directory`."""
    torch.manual_seed(sorted(FAMILIES).index(name))
    config = FAMILIES[name]()
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter_name, parameter in model.named_parameters():
        norm = "norm" in parameter_name and "gemma" not in name
        torch.nn.init.normal_(parameter, mean=1.0 if norm else 0.0, std=0.25)
    model.save_pretrained(directory)
    return model


def load(directory: Path, **changes: Any) -> LoadedModel:
    files = ModelFiles(directory.name, directory)
    return load_model(files, resolve(settings(**changes), files))


def random_prompts(lengths: tuple[int, ...], seed: int = 0) -> list[list[int]]:
    stream = random.Random(seed)
    return [[stream.randrange(3, VOCAB) for _ in range(length)] for length in lengths]


def make_family(name: str, directory: Path) -> Family:
    reference = save(name, directory)
    prompts = random_prompts(PROMPT_TOKENS)
    return Family(
        name,
        reference,
        ModelFiles(name, directory),
        load(directory),
        prompts,
        [greedy(reference, prompt, OUTPUT_TOKENS) for prompt in prompts],
    )


def serve(
    loaded: LoadedModel, engine: ResolvedEngine, prompts: list[list[int]]
) -> tuple[list[list[int]], int]:
    """Each prompt's tokens, and how many preemptions it took."""
    tokens, traces = drain(build_engine(loaded, engine, WallClock()), prompts)
    return [one[0] for one in tokens], sum(len(trace.preempted) for trace in traces)


def drain(
    core: Core, prompts: list[list[int]], samples: int = 1
) -> tuple[list[list[list[int]]], list[StepTrace]]:
    """The tokens of each prompt's samples, and the steps they took."""
    sampling = SamplingParams(OUTPUT_TOKENS, n=samples, ignore_eos=True)
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), tuple(prompt), sampling))
    tokens: list[list[list[int]]] = [[[] for _ in range(samples)] for _ in prompts]
    traces: list[StepTrace] = []
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert event.finish in (None, FinishReason.LENGTH), event.detail
            assert event.token_id is not None
            tokens[int(event.request_id)][event.choice].append(event.token_id)
        if outcome.trace is not None:
            traces.append(outcome.trace)
    return tokens, traces
