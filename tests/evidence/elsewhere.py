"""What rounding costs where another library computes it: a loss that both find is the format's.

    python -m tests.evidence.elsewhere --model smollm2-135m --method fp8 --method w8a8

Each method's checkpoint, as `llmbench quantize` writes it, is read by transformers through
compressed-tensors, which rounds activations as well, and by our engine; each beside the unquantised
model in the same hands, over the same windows of the text, in the same dtype.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from llmbench.engines.config import engine_config
from llmbench.harness.config import RunConfig
from llmbench.harness.quality.measure import WINDOW_TOKENS, Score, TextQuality, quality_on_text
from llmbench.harness.run.experiment import prepare
from llmbench.harness.run.watch import Silent

from .over_http import LLMBENCH
from .same_model_twice import score


def ours(model: str | Path, dtype: str) -> Score:
    return score(RunConfig(str(model), replace(engine_config("paged"), dtype=dtype)))


def theirs(directory: Path, dtype: str) -> Score:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()
    return lambda token_ids, first=0: model(torch.tensor([list(token_ids)])).logits[0, first:]


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
    hands = (("llmbench", ours), ("compressed-tensors", theirs))
    plain = {who: read(source.files.directory, asked.dtype) for who, read in hands}
    print("| method | computed by | unquantised | perplexity | | KL | same next token |")
    print("|---|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as directory:
        for method in asked.method or ("fp8", "w8a8"):
            out = Path(directory, method)
            options = ("--method", method, "--format", "compressed-tensors", "--out", str(out))
            quantize = [*LLMBENCH, "quantize", asked.model, *options, "--quiet"]
            subprocess.run(quantize, check=True, stdout=subprocess.DEVNULL)
            for who, read in hands:
                found = quality_on_text(read(out, asked.dtype), plain[who], text, WINDOW_TOKENS)
                assert found is not None
                print(row(method, who, found), flush=True)


if __name__ == "__main__":
    main()
