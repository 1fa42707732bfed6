"""Whether an engine measured over HTTP has the numbers that it has in process.

    llmbench calibrate-client
    python -m tests.evidence.over_http --model bundled --request-rate 4 --num-requests 80 --rounds 4

The same requests at the same times, in process and from a client over HTTP, by turns, and between
the two what the server's own log says of the latter: from there to the client is the client's to
answer for, and what in process lacks of it is what a server costs. An engine of as many threads as
there are cores shares them with the server's event loop and the client; with a thread less, `serve
--own-cores` parts them, and the client is kept off the engine's as well (by `taskset`). The bar is
the client's own error at that load, p99, as `llmbench calibrate-client` left it.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from llmbench.harness.cli.exits import Exit
from llmbench.harness.serve.cores import part, physical_core, usable_cores

LLMBENCH = (sys.executable, "-c", "from llmbench.harness.cli import main; main()")
# Where a result keeps each number, and whose error bounds it.
NUMBERS = (
    ("ttft", "mean", "ttft"),
    ("ttft", "p50", "ttft"),
    ("tpot", "mean", "itl"),
    ("itl", "p50", "itl"),
    ("e2el", "mean", "e2el"),
)


@dataclass(frozen=True)
class Round:
    """Milliseconds, by metric and statistic. log: of the metrics that the server's log has."""

    inside: dict[tuple[str, str], float]
    log: dict[tuple[str, str], float]
    outside: dict[tuple[str, str], float]
    client_error: dict[str, Any]


@contextmanager
def served(options: Sequence[str], log: Path) -> Iterator[str]:
    """The address of a server that this starts, and ends. log: where it says what it saw."""
    command = [*LLMBENCH, "serve", "--port", "0", "--request-log", str(log), *options]
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


def run(
    options: Sequence[str], out: Path, cores: frozenset[int] = frozenset()
) -> dict[str, Any] | None:
    """A run's result; None if it is not valid, and the command has said why. cores: that it is kept
    to; empty for any."""
    command = [*LLMBENCH, "run", *options, "--quiet", "--out", str(out)]
    if cores:
        command = ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]
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
    rounds: list[Round] = []
    parted = part(usable_cores(), asked.threads, physical_core)
    clients = frozenset(parted.rest) if parted else frozenset[int]()
    parting = ["--own-cores"] if parted else []
    serving = [*engine, *parting]
    with tempfile.TemporaryDirectory() as directory, served(serving, Path(directory, "log")) as url:
        for number in range(asked.rounds):
            seeded = [*load, "--seed", str(number)]
            inside = run(
                [*engine, "--quality-tokens", "0", *seeded], Path(directory, f"in{number}")
            )
            server = ["--target", "openai", "--base-url", url, "--tokenizer", asked.model]
            outside = run([*server, *seeded], Path(directory, f"over{number}"), clients)
            if inside is None or outside is None:
                print(f"round {number} is left out: a run of it is not valid", flush=True)
                continue
            assert inside["workload"]["fingerprint"] == outside["workload"]["fingerprint"]
            last = requests_logged(Path(directory, "log"), asked.num_requests)
            errors = outside["client_error"] or {}
            rounds.append(Round(stats(inside), logged(last), stats(outside), errors))
    if rounds:
        report(rounds)


def stats(result: dict[str, Any]) -> dict[tuple[str, str], float]:
    metrics = result["metrics"]
    return {(name, stat): 1e3 * metrics[name]["stats"][stat] for name, stat, _ in NUMBERS}


def requests_logged(path: Path, count: int) -> list[dict[str, Any]]:
    """The last `count` lines of a request log: those before are of warm-ups and earlier rounds."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[-count:]]


def logged(requests: Sequence[dict[str, Any]]) -> dict[tuple[str, str], float]:
    ttft_s = [one["t_first_s"] - one["t_arrival_s"] for one in requests]
    e2el_s = [one["t_end_s"] - one["t_arrival_s"] for one in requests]
    tpot_s = [(one["t_end_s"] - one["t_first_s"]) / (one["output_tokens"] - 1) for one in requests]
    return {
        ("ttft", "mean"): 1e3 * mean(ttft_s),
        ("ttft", "p50"): 1e3 * median(ttft_s),
        ("tpot", "mean"): 1e3 * mean(tpot_s),
        ("e2el", "mean"): 1e3 * mean(e2el_s),
    }


def report(rounds: Sequence[Round]) -> None:
    columns = ("", "in process", "the server's log", "over HTTP", "more than the log")
    print("| " + " | ".join([*columns, "… than in process", "the client's ±"]) + " |")
    print("|---|---:|---:|---:|---|---|---:|")
    for metric, stat, bar in NUMBERS:
        number = (metric, stat)
        inside = [one.inside[number] for one in rounds]
        outside = [one.outside[number] for one in rounds]
        log = [one.log[number] for one in rounds if number in one.log]
        errors = rounds[-1].client_error
        known = f"{1e3 * errors[bar]['p99_s']:.2f} ms" if bar in errors else "not calibrated"
        cells = [
            f"{metric} {stat}",
            f"{median(inside):.2f} ms",
            f"{median(log):.2f} ms" if log else "",
            f"{median(outside):.2f} ms",
            apart(log, outside) if log else "",
            apart(inside, outside),
            known,
        ]
        print("| " + " | ".join(cells) + " |")


def apart(before: Sequence[float], after: Sequence[float]) -> str:
    """The median difference, and the least and the most of all rounds."""
    apart_ms = [b - a for a, b in zip(before, after, strict=True)]
    return f"{median(apart_ms):+.2f} ({min(apart_ms):+.2f} … {max(apart_ms):+.2f}) ms"


if __name__ == "__main__":
    main()
