"""What a decode and a prompt take beside other programs, by how the engine's threads wait.

    python -m tests.evidence.waiting --model bundled --quant awq

`--others` programs that compute all the time are started beside an engine of as many threads as
there are cores. It runs in turn with `--spins` of GNU's OpenMP runtime: 300000 is its own default,
1000 llmbench's (kernels/threads.py). A cell is the median of the rounds, and the worst in brackets.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from llmbench.kernels.threads import SPINS

PROMPT, REPLY = 128, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--quant", default="awq")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--others", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--spins", type=int, nargs="+", default=[300_000, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(measure(asked.model, asked.quant, asked.dtype)))
        return
    print("| others | spins | decode of 1, ms | prompt of 128, ms |\n|---|---|---:|---:|")
    for others in asked.others:
        found: dict[int, list[dict[str, float]]] = {spins: [] for spins in asked.spins}
        with busy(others):
            for _ in range(asked.rounds):
                for spins in asked.spins:
                    found[spins].append(turn(spins))
        for spins, rounds in found.items():
            cells = [shown([one[what] for one in rounds]) for what in ("decode", "prompt")]
            print(f"| {others} | {spins} | {' | '.join(cells)} |", flush=True)


def turn(spins: int) -> dict[str, float]:
    """In a process of its own, for the runtime reads its variables once."""
    command = [sys.executable, "-m", "tests.evidence.waiting", *sys.argv[1:], "--worker"]
    env = {**os.environ, SPINS: str(spins)}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(model: str, quant: str, dtype: str) -> dict[str, float]:
    """Milliseconds: of a token of a reply, and until the first of one; means, for who waits for a
    reply waits for its slow steps as well."""
    from llmbench.engines import LLM, SamplingParams

    llm = LLM(model, engine="paged", quant=quant, dtype=dtype)

    def took(prompt: int, tokens: int) -> float:
        ids: list[Any] = [[1 + (7 * i + prompt) % 400 for i in range(prompt)]]
        start = time.perf_counter()
        llm.generate(ids, SamplingParams(max_tokens=tokens, ignore_eos=True))
        return 1e3 * (time.perf_counter() - start)

    took(PROMPT, 4)
    prompts = [took(PROMPT, 1) for _ in range(8)]
    return {"decode": took(8, REPLY) / REPLY, "prompt": sum(prompts) / len(prompts)}


@contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _compute() -> None:
    while True:
        pass


def shown(values: list[float]) -> str:
    return f"{median(values):.3g} ({max(values):.3g})"


if __name__ == "__main__":
    main()
