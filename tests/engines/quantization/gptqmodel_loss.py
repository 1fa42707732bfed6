"""What gptqmodel's GPTQ loses on the bundled model, with the settings and the calibration of
`judge.py`; measured by running it, and kept in gptqmodel_loss.json:

    .venv-reference/bin/python -m tests.engines.quantization.gptqmodel_loss
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.quantized import PackedSource
from llmbench.engines.quantization.scheme import Scheme

from .judge import BUNDLED, CPU, FLOAT, Judge, log_probabilities, make_judge

FILE = Path(__file__).with_suffix(".json")
# By name in the file.
SCHEMES = {
    "symmetric, act order": Scheme("gptq", 4, 64, act_order=True),
    "zero points, act order": Scheme("gptq", 4, 64, symmetric=False, act_order=True),
    "zero points": Scheme("gptq", 4, 64, symmetric=False),
}
# Model, windows of token ids, out; symmetric and act order as 0 or 1.
_SCRIPT = """
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


@dataclass(frozen=True)
class Loss:
    """kl: to the unquantised model, nats a token. perplexity: over the unquantised model's."""

    kl: float
    perplexity: float


def stored_loss(scheme: Scheme) -> Loss:
    """Raises StopIteration for a scheme that is none of SCHEMES."""
    name = next(name for name, one in SCHEMES.items() if one == scheme)
    return Loss(**json.loads(FILE.read_text())["losses"][name])


def measured_loss(judge: Judge, scheme: Scheme, directory: Path) -> Loss:
    """gptqmodel's, which runs in a process of its own: it changes torch where it is imported."""
    windows, out = directory / "windows.pt", directory / "out"
    torch.save(judge.calibration, windows)
    flags = (str(int(flag)) for flag in (scheme.symmetric, scheme.act_order))
    subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(BUNDLED), str(windows), str(out), *flags],
        check=True,
        cwd=directory,
        # One worker a core is fewer than it can start with on a small machine.
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "CUDA_VISIBLE_DEVICES": "",
            "GPTQMODEL_CPU_WORKERS": "4",
            # The order of sums moves its KL by 5 %, as it does ours.
            "OMP_NUM_THREADS": "1",
            "TORCHDYNAMO_DISABLE": "1",
        },
    )
    _, theirs = read_checkpoint(out)
    log_q = log_probabilities(judge.config, PackedSource(theirs, FLOAT, CPU), judge.held_out)
    kl = float((judge.log_p.exp() * (judge.log_p - log_q)).sum(-1).mean())
    return Loss(kl, judge.perplexity(log_q) / judge.perplexity(judge.log_p))


def main() -> None:
    judge = make_judge()
    losses = {}
    for name, scheme in SCHEMES.items():
        with TemporaryDirectory() as directory:
            losses[name] = asdict(measured_loss(judge, scheme, Path(directory)))
    versions = {package: version(package) for package in ("gptqmodel", "torch", "transformers")}
    FILE.write_text(json.dumps({"versions": versions, "losses": losses}, indent=2) + "\n")


if __name__ == "__main__":
    main()
