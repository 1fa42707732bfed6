"""vLLM for CPU: its engine in a Python of its own, stepped without HTTP.

Settings, the fastest of those tried: bfloat16, compiled (its default), the engine in the calling
process, threads bound to all of the cores (by itself it leaves one free), no prefix cache. 8-bit
weights are W8A8, made by `w8a8.py`: products of 8-bit integers. 4-bit weights are our own AWQ
checkpoint, the very one that our engines serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...engines.models.loader import load_config
from ...engines.quantization.load import cached_checkpoint
from ...engines.quantization.scheme import default_scheme
from .base import ServedModel, Variant
from .runner import Runner, outside_env, start_runner
from .w8a8 import write_w8a8
from .workload import MAX_MODEL_LEN, MAX_NUM_SEQS

NAME = "vLLM"
W8A8, AWQ = "W8A8", "awq"


@dataclass(frozen=True)
class VllmCpu:
    """python: the interpreter of an environment with vLLM for CPU."""

    python: Path
    cores: tuple[int, ...]
    name: str = NAME

    def variants(self) -> tuple[Variant, ...]:
        return (
            Variant(NAME, "bf16", "bfloat16"),
            Variant(NAME, "int8", W8A8),
            Variant(NAME, "int4", AWQ),
        )

    def missing(self) -> str | None:
        if not self.python.is_file():
            return "no Python with vLLM for CPU at the place given"
        if not list(self.python.parent.parent.glob("lib/python*/site-packages/vllm")):
            return "the Python given has no vLLM"
        return None

    @contextmanager
    def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[Runner]:
        settings = {
            "model": str(_checkpoint(variant.weights, model)),
            "max_num_seqs": MAX_NUM_SEQS,
            "max_model_len": MAX_MODEL_LEN,
        }
        command = (self.python, "-m", "runners.vllm_cpu")
        with start_runner(command, settings, log, env=self._env(), cores=self.cores) as runner:
            yield runner

    def _env(self) -> dict[str, str]:
        bound = ",".join(map(str, self.cores))
        return {
            **outside_env(),
            "OMP_NUM_THREADS": str(len(self.cores)),
            "VLLM_CPU_OMP_THREADS_BIND": bound,
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # The cache of whole compiled functions fails to load in 0.32.0, so that every start
            # would compile anew; the cache of compiled parts loads.
            "VLLM_USE_AOT_COMPILE": "0",
            "VLLM_NO_USAGE_STATS": "1",
        }


def _checkpoint(weights: str, model: ServedModel) -> Path:
    """The directory that holds the model with these weights, made if it is not there."""
    if weights == W8A8:
        return write_w8a8(model.directory, model.made(W8A8))
    if weights == AWQ:
        import torch

        scheme = default_scheme(load_config(model.directory), AWQ)
        return cached_checkpoint(model.directory, scheme, torch.device("cpu"))
    return model.directory
