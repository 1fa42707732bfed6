"""Our engines, as anybody's: in a process of their own, with the settings a user would give."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .base import ServedModel, Variant
from .runner import Runner, start_runner
from .workload import MAX_MODEL_LEN, MAX_NUM_SEQS

NAME = "llmbench"
ENGINES = ("paged", "inflight")
# The last rounds what llama.cpp's Q4_0 rounds: activations, and the output projection to 8 bits.
PRECISION_OF_QUANT = {
    "none": "bf16",
    "w8a8": "int8",
    "awq": "int4",
    "awq+a8+w8a8-head": "int4",
}


@dataclass(frozen=True)
class Own:
    cores: tuple[int, ...]
    engines: tuple[str, ...] = ENGINES
    name: str = NAME

    def variants(self) -> tuple[Variant, ...]:
        return tuple(
            Variant(f"{NAME} {engine}", precision, "bfloat16" if quant == "none" else quant)
            for quant, precision in PRECISION_OF_QUANT.items()
            for engine in self.engines
        )

    def missing(self) -> str | None:
        return None

    @contextmanager
    def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[Runner]:
        quant = "none" if variant.weights == "bfloat16" else variant.weights
        settings = {
            "model": model.name,
            "threads": len(self.cores),
            "engine": variant.engine.removeprefix(f"{NAME} "),
            "overrides": {
                "quant": quant,
                "dtype": "bfloat16",
                "max_num_seqs": MAX_NUM_SEQS,
                "max_model_len": MAX_MODEL_LEN,
            },
        }
        package = __name__.rpartition(".")[0]
        command = (sys.executable, "-m", f"{package}.runners.own")
        env = {"OMP_NUM_THREADS": str(len(self.cores))}
        with start_runner(command, settings, log, env=env, cores=self.cores) as runner:
            yield runner
