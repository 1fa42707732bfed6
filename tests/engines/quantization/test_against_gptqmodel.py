"""GPTQ beside the library that is in use for it, with the same settings and calibration.

It pins another torch than ours, so it stands in an environment of its own, whose interpreter
$LLMBENCH_GPTQMODEL names: python -m venv reference && reference/bin/pip install gptqmodel.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.quantized import PackedSource
from llmbench.engines.quantization.scheme import Scheme

from .test_quality import BUNDLED, CPU, FLOAT, Judge, judge, log_probabilities

__all__ = ["judge"]

PYTHON = os.environ.get("LLMBENCH_GPTQMODEL")

# Model, windows of token ids, out; symmetric and act order as 0 or 1.
REFERENCE = """
import sys
import torch
from gptqmodel import GPTQModel, QuantizeConfig

model, windows, out, symmetric, act_order = sys.argv[1:]
settings = QuantizeConfig(
    bits=4,
    group_size=64,
    sym=symmetric == "1",
    desc_act=act_order == "1",
    static_groups=act_order == "1",
    act_group_aware=False,
    damp_percent=0.01,
    format="gptq" if symmetric == "1" else "gptq_v2",
    device="cpu",
)
loaded = GPTQModel.load(model, settings, dtype=torch.float32)
ids = [row.tolist() for row in torch.load(windows)]
loaded.quantize([{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids], batch_size=1)
loaded.save(out)
"""


@pytest.mark.skipif(PYTHON is None, reason="LLMBENCH_GPTQMODEL names no interpreter that has it")
@pytest.mark.parametrize(("symmetric", "act_order"), [(True, True), (False, False)])
def test_gptq_is_as_near_as_gptqmodels(
    symmetric: bool, act_order: bool, judge: Judge, tmp_path: Path
) -> None:
    torch.save(judge.calibration, tmp_path / "windows.pt")
    arguments = [BUNDLED, tmp_path / "windows.pt", tmp_path / "out", symmetric, act_order]
    subprocess.run(
        [str(PYTHON), "-c", REFERENCE, *(str(int(a) if a in (0, 1) else a) for a in arguments)],
        check=True,
        cwd=tmp_path,
        # One worker a core is fewer than it can start with on a small machine.
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "CUDA_VISIBLE_DEVICES": "",
            "GPTQMODEL_CPU_WORKERS": "4",
            "TORCHDYNAMO_DISABLE": "1",
        },
    )
    _, theirs = read_checkpoint(tmp_path / "out")
    log_q = log_probabilities(judge.config, PackedSource(theirs, FLOAT, CPU), judge.held_out)
    their_kl = float((judge.log_p.exp() * (judge.log_p - log_q)).sum(-1).mean())
    their_perplexity = judge.perplexity(log_q) / judge.perplexity(judge.log_p)
    kl, perplexity = judge.quantized(Scheme("gptq", 4, 64, symmetric, act_order))
    print(f"KL {kl:.5f} beside {their_kl:.5f}, perplexity {perplexity / their_perplexity - 1:+.2%}")
    assert abs(perplexity / their_perplexity - 1) < 0.02
    assert kl < 1.15 * their_kl
