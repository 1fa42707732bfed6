"""transformers' continuous batching: its manager in a thread of this process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from .lines import Loaded, Times, serve

PAGE_TOKENS = 256


def load(settings: Mapping[str, Any]) -> Loaded:
    import torch
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

    torch.set_num_threads(settings["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        settings["model"], dtype=torch.bfloat16, attn_implementation="sdpa"
    )
    pages = -(-settings["max_model_len"] // PAGE_TOKENS) * settings["max_num_seqs"]
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=pages,
            max_batch_tokens=settings["max_batch_tokens"],
            max_requests_per_batch=settings["max_num_seqs"],
            allow_block_sharing=False,
        ),
    )
    manager.start()

    def generate(prompts: Sequence[Sequence[int]], output_tokens: int) -> list[Times]:
        sent_s: dict[str, float] = {}
        order: list[str] = []
        for prompt in prompts:
            now_s = time.perf_counter()
            name = manager.add_request(
                list(prompt), max_new_tokens=output_tokens, record_timestamps=True, eos_token_id=-1
            )
            if name is None:
                raise RuntimeError("the manager takes no more requests")
            order.append(name)
            sent_s[name] = now_s
        done: dict[str, Times] = {}
        while len(done) < len(order):
            output = manager.get_result()
            if output is None or output.error:
                raise RuntimeError(output.error if output else "the generation thread has stopped")
            if output.is_finished():
                name = output.request_id
                done[name] = Times(sent_s[name], len(output.prompt_ids), output.timestamps or ())
        return [done[name] for name in order]

    return Loaded(
        generate,
        {name: version(name) for name in ("transformers", "torch")},
        f"bfloat16, paged sdpa, pages of {PAGE_TOKENS}, block sharing off",
    )


if __name__ == "__main__":
    serve(load)
