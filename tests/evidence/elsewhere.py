"""What rounding costs where another library computes it: a loss that both find is the format's.

    python -m tests.evidence.elsewhere --model smollm2-135m --method fp8 --method w8a8

Each method's checkpoint, as `llmbench quantize` writes it, is read by transformers through
compressed-tensors, which rounds activations as well, and by our engine; each beside the unquantised
model in the same hands, over the same windows of the text, in the same dtype.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from llmbench.engines.assemble import load_model
from llmbench.engines.config import engine_config
from llmbench.engines.models.dense import dense_logits
from llmbench.harness.config import RunConfig
from llmbench.harness.quality.measure import WINDOW_TOKENS, Score, TextQuality, quality_on_text
from llmbench.harness.run.experiment import prepare
from llmbench.harness.run.watch import Silent
from torch import Tensor

QUANTIZE = (sys.executable, "-c", "from llmbench.harness.cli import main; main()", "quantize")


def ours(model: str, dtype: str) -> Score:
    config = RunConfig(model, replace(engine_config("paged"), dtype=dtype))
    prepared = prepare(config, Silent())
    loaded = load_model(prepared.files, prepared.engine, lambda _: None)
    return lambda token_ids, first=0: dense_logits(loaded.model, token_ids, first=first)


def theirs(directory: Path, dtype: str) -> Score:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()

    def score(token_ids: list[int], first: int = 0) -> Tensor:
        return model(torch.tensor([token_ids])).logits[0, first:]

    return lambda token_ids, first=0: score(list(token_ids), first)


def row(method: str, who: str, found: TextQuality) -> str:
    assert found.reference_perplexity is not None
    assert found.distance is not None
    before, after = found.reference_perplexity.value, found.perplexity.value
    return (
        f"| `{method}` | {who} | {before:.3f} | {after:.3f} | {after / before - 1:+.2%} "
        f"| {found.distance.kl_mean:.4f} | {found.distance.top1_agreement:.1%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--method", action="append", help="fp8 and w8a8 unless said.")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--tokens", type=int, default=4096)
    asked = parser.parse_args()
    source = prepare(RunConfig(asked.model, engine_config("paged")), Silent())
    text = source.corpus_token_ids[: asked.tokens]
    print("| method | computed by | unquantised | perplexity | | KL | same next token |")
    print("|---|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as directory:
        for method in asked.method or ("fp8", "w8a8"):
            out = Path(directory, method)
            options = ("--method", method, "--format", "compressed-tensors", "--out", str(out))
            subprocess.run([*QUANTIZE, asked.model, *options, "--quiet"], check=True)
            for who, model, reference in (
                ("llmbench", ours(str(out), asked.dtype), ours(asked.model, asked.dtype)),
                (
                    "compressed-tensors",
                    theirs(out, asked.dtype),
                    theirs(source.files.directory, asked.dtype),
                ),
            ):
                found = quality_on_text(model, reference, text, WINDOW_TOKENS)
                assert found is not None
                print(row(method, who, found), flush=True)


if __name__ == "__main__":
    main()
