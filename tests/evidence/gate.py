"""How often gates are wrong, and how often they find what was planted, on this machine.

python -m tests.evidence.gate exact --runs 1000
python -m tests.evidence.gate collect --minutes 60 --out series.jsonl     # a quiet machine
python -m tests.evidence.gate judge series.jsonl
python -m tests.evidence.gate workflow --wall-time
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llmbench.harness.ab.judge import worsening
from llmbench.harness.comparison.quantities import find_quantity

from ..github.runner import ROOT, run_job
from ..github.test_gate_workflow import github
from ..github.trees import ONE_REQUEST_FEWER, Change, repository, slowdown
from .series import KINDS, METRICS, collect, gates, quads_needed, read, trials

PILOT = 30
_EXACT = """
import sys
from pathlib import Path
from llmbench.harness.gate.baseline import Baseline, BaselineRun, read_baseline, write_baseline
from llmbench.harness.gate.exact import gate_exact, update
from llmbench.harness.gate.virtual import simulate_options
path, runs = Path(sys.argv[1]), int(sys.argv[2])
if not path.exists():
    options = {"engine": "vllm-v1", "num-requests": 12, "kv-memory": "2MiB", "max-model-len": 512,
               "request-rate": "inf"}
    path.write_text(write_baseline(update(Baseline("", {"chat": BaselineRun(options)}), "evidence",
                                          simulate_options)))
baseline = read_baseline(path)
codes = [gate_exact(baseline, simulate_options).exit_code for _ in range(runs)]
print(sum(code != 0 for code in codes))
"""


def exact(runs: int, processes: int) -> None:
    """Gates in fresh processes, each with a hash seed of its own, against one baseline."""
    each = -(-runs // processes)
    with tempfile.TemporaryDirectory() as folder:
        alarms = 0
        for number in range(processes):
            done = subprocess.run(
                [sys.executable, "-c", _EXACT, f"{folder}/gate.yaml", str(each)],
                env={**os.environ, "PYTHONHASHSEED": str(number)},
                capture_output=True,
                text=True,
                check=True,
            )
            alarms += int(done.stdout)
        print(f"{each * processes} exact gates in {processes} processes: {alarms} false alarms")


def measure(
    out: Path, minutes: float, num_requests: int, slower: float, kinds: Sequence[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        slowed = Path(folder) / "slowed"
        repository(slowed, slowdown(slower))
        options = ("--engine", "paged", "--threads", "1")
        collect(ROOT, slowed, options, out, minutes=minutes, num_requests=num_requests, kinds=kinds)


def judge(path: Path, allowed: float, effect: float, pairs: int | None) -> None:
    """pairs: of each gate of the slowed side at most; None: as many as the pilot needs."""
    quads = list(read(path))
    equal = [one for one in quads if one.kind == "equal"]
    slow = [one for one in quads if one.kind == "slow"]
    print(f"{len(equal)} quads of equal sides, {len(slow)} of a slowed one")
    for metric in METRICS:
        worse = worsening(find_quantity("m", metric), *trials(equal, metric))
        error = 1.96 * worse.std(ddof=1) / math.sqrt(len(worse))
        print(f"equal sides, {metric}: B is worse by {worse.mean():.2%} ± {error:.2%}")
    for metrics in (METRICS[:1], METRICS):
        size = 8 if len(metrics) == 1 else 10
        for limit in dict.fromkeys((0.0, allowed)):
            _say(f"equal, {limit:.0%} allowed", list(gates(equal, size, metrics, limit, effect)))
    needs = quads_needed(equal[:PILOT], METRICS[0], allowed, effect)
    print(
        f"{effect:.0%} with {allowed:.0%} allowed needs {needs and 2 * needs} pairs, from a pilot"
    )
    if needs is None and pairs is None:
        return
    size = max(needs or 0, 8) if pairs is None else pairs // 2
    _say("slowed", list(gates(slow, size, METRICS[:1], allowed, effect)))
    _say("equal", list(gates(equal[PILOT:], size, METRICS[:1], allowed, effect)))


def _say(kind: str, answers: list) -> None:
    """The worst verdict of each gate, counted."""
    order = ("regressed", "inconclusive", "passed", "improved")
    worst = Counter(min((a.verdict for a in one), key=order.index) for one in answers)
    said = ", ".join(f"{worst[name]} {name}" for name in order if worst[name])
    metrics = len(answers[0]) if answers else 0
    print(f"{kind}: {len(answers)} gates of {metrics} metrics: {said}")


def workflow(*, wall_time: bool, slower: float) -> int:
    """The worked workflow on an equal tree and a worse one; what its steps print."""
    worse: tuple[Change, ...] = (slowdown(slower),) if wall_time else (ONE_REQUEST_FEWER,)
    labels = ("wall-time",) if wall_time else ()
    wrong = 0
    for name, changes in (("equal", ()), ("worse", worse)):
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            base, head = repository(tree, *changes)
            job = run_job(tree, "gate.yml", "gate", github(base, head, *labels),
                          Path(folder) / "runner")  # fmt: skip
        print(f"== {name} tree: the job {'failed' if job.failed else 'passed'}")
        for step in job.steps:
            if step.code is not None:
                print(f"-- {step.name}: exit code {step.code}\n{step.output}", end="", flush=True)
        wrong += job.failed != (name == "worse")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("exact")
    one.add_argument("--runs", type=int, default=1000)
    one.add_argument("--processes", type=int, default=10)
    one = commands.add_parser("collect")
    one.add_argument("--minutes", type=float, default=60)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--requests", type=int, default=16)
    one.add_argument("--slower", type=float, default=0.10)
    one.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    one = commands.add_parser("judge")
    one.add_argument("series", type=Path)
    one.add_argument("--allowed", type=float, default=0.05)
    one.add_argument("--effect", type=float, default=0.10)
    one.add_argument("--pairs", type=int)
    one = commands.add_parser("workflow")
    one.add_argument("--wall-time", action="store_true")
    one.add_argument("--slower", type=float, default=0.10)
    asked = parser.parse_args()
    match asked.command:
        case "exact":
            exact(asked.runs, asked.processes)
        case "collect":
            measure(asked.out, asked.minutes, asked.requests, asked.slower, asked.kinds)
        case "judge":
            judge(asked.series, asked.allowed, asked.effect, asked.pairs)
        case "workflow":
            return workflow(wall_time=asked.wall_time, slower=asked.slower)
    return 0


if __name__ == "__main__":
    sys.exit(main())
