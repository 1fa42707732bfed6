"""vLLM for CPU: its engine in a Python of its own, stepped without HTTP.

Settings, the fastest of those tried: bfloat16, compiled (its default), the engine in the calling
process, threads bound to the cores, no prefix cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .base import ServedModel, Variant
from .runner import Runner, outside_env, start_runner
from .workload import MAX_MODEL_LEN, MAX_NUM_SEQS

NAME = "vLLM"


@dataclass(frozen=True)
class VllmCpu:
    """python: the interpreter of an environment with vLLM for CPU."""

    python: Path
    cores: tuple[int, ...]
    name: str = NAME

    def variants(self) -> tuple[Variant, ...]:
        return (Variant(NAME, "bf16", "bfloat16"),)

    def missing(self) -> str | None:
        if not self.python.is_file():
            return "no Python with vLLM for CPU at the place given"
        if not list(self.python.parent.parent.glob("lib/python*/site-packages/vllm")):
            return "the Python given has no vLLM"
        return None

    @contextmanager
    def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[Runner]:  # noqa: ARG002 (one variant)
        settings = {
            "model": str(model.directory),
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
            "VLLM_NO_USAGE_STATS": "1",
        }
