"""How far a model is from itself, computed by two kernels: what a distance holds of no method.

    python -m tests.evidence.same_model_twice --model smollm2-135m

The unquantised model's linear maps through the kernel that is chosen and through the reference's,
over the same text: the order of sums differs, and in bfloat16 so does what is rounded between them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from llmbench.engines.assemble import load_model
from llmbench.engines.config import engine_config
from llmbench.engines.models.dense import dense_logits
from llmbench.harness.config import RunConfig
from llmbench.harness.quality.measure import Score, quality_on_text
from llmbench.harness.run.experiment import prepare
from llmbench.harness.run.watch import Silent

WINDOW_TOKENS = 2048


def score(config: RunConfig) -> Score:
    prepared = prepare(config, Silent())
    loaded = load_model(prepared.files, prepared.engine, lambda _: None)
    return lambda token_ids, first=0: dense_logits(loaded.model, token_ids, first=first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=4096)
    asked = parser.parse_args()
    for dtype in ("bfloat16", "float32"):
        config = RunConfig(asked.model, replace(engine_config("paged"), dtype=dtype))
        other = replace(config, engine=replace(config.engine, force_kernels=("linear=reference",)))
        text = prepare(config, Silent()).corpus_token_ids[: asked.tokens]
        found = quality_on_text(score(other), score(config), text, WINDOW_TOKENS)
        assert found is not None
        assert found.distance is not None
        apart = found.distance
        print(
            f"{asked.model} in {dtype}, over {apart.tokens} tokens: KL {apart.kl_mean:.2g} "
            f"(99 %: {apart.kl_p99:.2g}), same next token {apart.top1_agreement:.1%}"
        )


if __name__ == "__main__":
    main()
