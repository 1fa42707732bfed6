"""Whether an engine measured over HTTP has the numbers that it has in process.

    llmbench calibrate-client
    python -m tests.evidence.over_http --threads 1 --rounds 3

The same requests at the same times, in process and from a client over HTTP, by turns. An engine of
as many threads as there are cores shares them with the server's event loop and the client, and what
those take from it is no error of the client; with a thread less there is a core for both. The bar
is the client's own error at that load, p99, as `llmbench calibrate-client` left it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from llmbench.harness.cli.exits import Exit

LLMBENCH = (sys.executable, "-c", "from llmbench.harness.cli import main; main()")
# Where a result keeps each number, and whose error bounds it.
NUMBERS = (
    ("ttft", "mean", "ttft"),
    ("ttft", "p50", "ttft"),
    ("tpot", "mean", "itl"),
    ("itl", "p50", "itl"),
    ("e2el", "mean", "ttft"),
)


@contextmanager
def served(options: Sequence[str]) -> Iterator[str]:
    """The address of a server that this starts, and ends."""
    command = [*LLMBENCH, "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if found := re.search(r"http://[\d.:]+", line):
                    break
            else:
                raise SystemExit("the server did not start")
            yield found[0]
        finally:
            server.terminate()


def run(options: Sequence[str], out: Path) -> dict[str, Any] | None:
    """A run's result; None if it is not valid, and the command has said why."""
    command = [*LLMBENCH, "run", *options, "--quiet", "--out", str(out)]
    code = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
    if code == Exit.INVALID:
        return None
    if code != Exit.OK:
        raise SystemExit(code)
    return json.loads((out / "result.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--engine", default="paged")
    parser.add_argument("--threads", type=int, default=1, help="Of the engine.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--request-rate", type=float, default=1.0)
    parser.add_argument("--num-requests", type=int, default=40)
    asked = parser.parse_args()
    engine = [*("--model", asked.model, "--engine", asked.engine, "--threads", str(asked.threads))]
    load = [
        *("--workload", "fixed", "--num-requests", str(asked.num_requests)),
        *("--request-rate", str(asked.request_rate), "--warmup-requests", "4"),
    ]
    rounds: list[tuple[dict[str, Any], dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as directory, served(engine) as url:
        for number in range(asked.rounds):
            seeded = [*load, "--seed", str(number)]
            inside = run(
                [*engine, "--quality-tokens", "0", *seeded], Path(directory, f"in{number}")
            )
            server = ["--target", "openai", "--base-url", url, "--tokenizer", asked.model]
            outside = run([*server, *seeded], Path(directory, f"over{number}"))
            if inside is None or outside is None:
                print(f"round {number} is left out: a run of it is not valid", flush=True)
                continue
            assert inside["workload"]["fingerprint"] == outside["workload"]["fingerprint"]
            rounds.append((inside, outside))
    if rounds:
        report(rounds)


def report(rounds: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    errors = rounds[-1][1]["client_error"] or {}
    print("| | in process | over HTTP | difference, each round | the client's ± |")
    print("|---|---:|---:|---|---:|")
    for metric, stat, bar in NUMBERS:
        inside, outside = (
            [1e3 * both[side]["metrics"][metric]["stats"][stat] for both in rounds]
            for side in (0, 1)
        )
        apart = ", ".join(f"{b - a:+.2f}" for a, b in zip(inside, outside, strict=True))
        known = f"{1e3 * errors[bar]['p99_s']:.2f} ms" if bar in errors else "not calibrated"
        print(
            f"| {metric} {stat} | {median(inside):.2f} ms | {median(outside):.2f} ms | {apart} ms "
            f"| {known} |"
        )


if __name__ == "__main__":
    main()
