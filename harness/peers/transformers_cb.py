"""transformers' continuous batching, in this Python: `generate_batch`'s manager.

It has no 8-bit or 4-bit weights on a CPU without a further package, so it fills one row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .base import ServedModel, Variant
from .runner import Runner, outside_env, start_runner
from .workload import MAX_MODEL_LEN, MAX_NUM_SEQS

NAME = "transformers"


@dataclass(frozen=True)
class TransformersCb:
    cores: tuple[int, ...]
    name: str = NAME

    def variants(self) -> tuple[Variant, ...]:
        return (Variant(NAME, "bf16", "bfloat16"),)

    def missing(self) -> str | None:
        return None  # this package depends on it

    @contextmanager
    def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[Runner]:  # noqa: ARG002 (one variant)
        settings = {
            "model": str(model.directory),
            "threads": len(self.cores),
            "max_num_seqs": MAX_NUM_SEQS,
            "max_model_len": MAX_MODEL_LEN,
            "max_batch_tokens": 2 * MAX_MODEL_LEN,
        }
        env = {**outside_env(), "OMP_NUM_THREADS": str(len(self.cores))}
        command = (sys.executable, "-m", "runners.transformers_cb")
        with start_runner(command, settings, log, env=env, cores=self.cores) as runner:
            yield runner
