"""The whole check of a GPU in under ten minutes: a list of `llmbench` commands, and one record.

    python -m tests.gpu.check --out X                on a GPU, from the top of the repository
    python -m tests.gpu.check --out X --dry-run      print the commands
    python -m tests.gpu.check --out X --smoke        the same list on a CPU, with the bundled model

Correctness of every operation and implementation, the table of kernels, Llama-3-8B's shapes with
random weights through both engines, how busy the GPU is, and throughput beside a published figure.
What is not timed runs first, all at once: nearly all of its time goes to compiling kernels, which a
model of two layers meets as well as one of 32. A command that fails or runs over its time is
recorded as such, and the others go on; all that it printed is in NAME.log beside the record.
llmbench need not be installed, but what it imports: pydantic and plotly, with what these need,
beside torch, triton and transformers.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .record import INTERRUPTED, INVALID, Outcome, line_of, seen_in, write_record

# The limit. What is left when a command begins bounds it, too.
TOTAL_S = 600
# In less no engine is even loaded.
LEAST_S = 10
# Asked to end, a command has so long to write down what it has.
GRACE_S = 6
# All commands that run at once; on an H200 the longest took 45 s.
TOGETHER_S = 110
SMALL = "two-layers"  # a folder with a config.json
PROGRAM = "from llmbench.harness.cli import main; main()"
ROOT = Path(__file__).resolve().parents[2]
PAGED, INFLIGHT = "paged", "inflight"
KV_DTYPES = ("auto", "fp8")
# GPTQ's weights are packed to AWQ's layout and run by the same kernel: once is enough.
QUANTS = ("none", "awq", "fp8", "w8a8", "int8", "awq+a8")


@dataclass(frozen=True)
class Scale:
    """How large the check is. model: its flags. config: the model's, below the repository's top.
    untimed: presets and quantisations whose kernels are compiled first; engines: those that are
    timed. context, decode_after: tokens before a decode, of `kernels bench` and of two layers.
    reply: tokens in and out of the throughput run, of `requests`, `at_a_time` together."""

    model: tuple[str, ...]
    config: str
    max_model_len: int
    device: str
    shape_set: str
    context: int
    decode_after: int
    prompt: int
    large_batch: int
    untimed: tuple[tuple[str, str], ...]
    engines: tuple[tuple[str, str], ...]
    reply: tuple[int, int]
    requests: int
    at_a_time: int
    throughput: tuple[str, ...]


FULL = Scale(
    model=("--model", "llama-3-8b", "--load-format", "dummy"),
    config="engines/cost/shapes/llama-3-8b.json",
    max_model_len=2048,
    device="cuda",
    shape_set="llama-3-8b",
    context=2048,
    # Enough for the keys of a sequence to be shared by programs.
    decode_after=1024,
    prompt=1000,
    large_batch=64,
    untimed=(*((PAGED, quant) for quant in QUANTS), (INFLIGHT, "none")),
    engines=(
        *((PAGED, quant) for quant in QUANTS),
        *((INFLIGHT, q) for q in ("none", "awq", "fp8")),
    ),
    reply=(1000, 1000),
    # 192 x 2000 tokens in bf16 take 50 GB: nobody is preempted. In e4m3 twice as many fit, and
    # attention is no faster (docs/gpu.md).
    requests=384,
    at_a_time=192,
    throughput=("--quant", "fp8"),
)
SMOKE = Scale(
    model=("--model", "bundled", "--load-format", "dummy"),
    config="engines/models/bundled/config.json",
    max_model_len=256,
    device="cpu",
    shape_set="smollm2",
    context=32,
    decode_after=64,
    prompt=32,
    large_batch=4,
    untimed=((PAGED, "none"),),
    engines=((PAGED, "none"), (INFLIGHT, "none")),
    reply=(32, 8),
    requests=6,
    at_a_time=3,
    throughput=("--quant", "none"),
)


@dataclass(frozen=True)
class Command:
    """name: of its files. words: after `llmbench`. budget_s: it is stopped then; None: when all of
    the time is over. together: it is not timed, and runs beside the others that are not."""

    name: str
    words: tuple[str, ...]
    budget_s: float | None
    together: bool = False


def commands(scale: Scale, out: Path) -> list[Command]:
    """In order of what must not be missing."""
    on = ("--device", scale.device)
    compiled = [
        Command(
            f"compile-{engine}-{quant}",
            _bench(scale, engine, quant, out, "compile"),
            TOGETHER_S,
            True,
        )
        for engine, quant in scale.untimed
    ]
    decodes = [
        Command(f"decode-{engine}-{quant}", _bench(scale, engine, quant, out, "decode"), 41)
        for engine, quant in scale.engines
    ]
    contexts = [
        Command(f"context-{kv}", _after_context(scale, kv, out, "context"), 20) for kv in KV_DTYPES
    ]
    codes = _after_context(scale, "fp8", out, "compile-context")
    compiled.append(Command("compile-context-fp8", codes, TOGETHER_S, True))
    kernels = (
        *("kernels", "bench", *on, "--shape-set", scale.shape_set),
        *("--batch", f"1,{scale.large_batch}", "--context", str(scale.context)),
        *("--prompt", str(scale.prompt), "--turns", "5", "--out", str(out / "kernels.json")),
    )
    return [
        # It builds the native kernels.
        Command("doctor", ("doctor",), TOGETHER_S, True),
        Command("kernels-check", ("kernels", "check", *on), TOGETHER_S, True),
        *compiled,
        *decodes[:3],
        *contexts,
        Command("throughput", _throughput(scale, out), 80),
        Command("ttft", _ttft(scale, out), 20),
        Command("busy", _busy(scale, out), 18),
        *decodes[3:],
        Command("kernels-bench", kernels, None),
    ]


def _bench(scale: Scale, engine: str, quant: str, out: Path, what: str) -> tuple[str, ...]:
    model = scale.model if what == "decode" else ("--model", str(out / SMALL), *scale.model[2:])
    profile = ("--profile",) * (scale.device != "cpu" and what == "decode")
    return (
        *("bench-engine", *model, "--device", scale.device, "--engine", engine, "--quant", quant),
        *("--batch", "1", "--batch", str(scale.large_batch), "--prompt", str(scale.prompt)),
        *("--quiet", *profile, "--out", str(out / f"{what}-{engine}-{quant}.json")),
    )


def _after_context(scale: Scale, kv: str, out: Path, what: str) -> tuple[str, ...]:
    """Attention of decodes that have something to read, of one sequence that programs share and of
    a full batch: two layers say what 32 of them take."""
    profile = ("--profile",) * (scale.device != "cpu" and what == "context")
    return (
        *("bench-engine", "--model", str(out / SMALL), *scale.model[2:], "--device", scale.device),
        *("--engine", PAGED, "--quant", "none", "--kv-dtype", kv),
        *("--batch", "1", "--batch", str(scale.large_batch), "--context", str(scale.decode_after)),
        *("--prompt", "1", "--quiet", *profile, "--out", str(out / f"{what}-{kv}.json")),
    )


def _run(scale: Scale, engine: str, quant: Sequence[str], out: Path) -> tuple[str, ...]:
    model = (*scale.model, "--device", scale.device, "--max-model-len", str(scale.max_model_len))
    into = ("--quiet", "--overwrite", "--out", str(out))
    return ("run", *model, "--engine", engine, *quant, *into)


def _busy(scale: Scale, out: Path) -> tuple[str, ...]:
    """One batch that decodes together."""
    batch = scale.large_batch
    run = _run(scale, PAGED, (), out / "busy")
    return (*run, "--workload", "fixed", *_numbers(batch, batch), "--max-num-seqs", str(batch))


def _ttft(scale: Scale, out: Path) -> tuple[str, ...]:
    """One prompt at a time."""
    run = _run(scale, PAGED, (), out / "ttft")
    return (*run, "--workload", str(_workload_file(out, scale.prompt, 8)), *_numbers(10, 1))


def _throughput(scale: Scale, out: Path) -> tuple[str, ...]:
    run = _run(scale, "vllm-v1", scale.throughput, out / "throughput")
    load = ("--workload", str(_workload_file(out, *scale.reply)))
    many = _numbers(scale.requests, scale.at_a_time)
    return (*run, *load, *many, "--max-num-seqs", str(scale.at_a_time))


def _numbers(requests: int, at_a_time: int) -> tuple[str, ...]:
    return ("--num-requests", str(requests), "--max-concurrency", str(at_a_time))


def _workload_file(out: Path, given: int, said: int) -> Path:
    return out / f"{given}-{said}.yaml"


def write_small_model(scale: Scale, out: Path) -> None:
    """The model's config with two layers: it meets every kernel that the model does."""
    config = (ROOT / scale.config).read_text(encoding="utf-8")
    (out / SMALL).mkdir(exist_ok=True)
    two = json.dumps({**json.loads(config), "num_hidden_layers": 2}, indent=2)
    (out / SMALL / "config.json").write_text(two, encoding="utf-8")


def write_workloads(scale: Scale, out: Path) -> None:
    """Lengths that no built-in has."""
    for given, said in ((scale.prompt, 8), scale.reply):
        text = (
            f"name: {given} in, {said} out\n"
            f"num_requests: {scale.requests}\n"
            "arrivals: {kind: at_once}\n"
            "lengths:\n"
            "  kind: sampled\n"
            f"  input: {{kind: fixed, tokens: {given}}}\n"
            f"  output: {{kind: fixed, tokens: {said}}}\n"
        )
        _workload_file(out, given, said).write_text(text, encoding="utf-8")


def forget(todo: Sequence[Command], out: Path) -> None:
    """What an earlier check left there, so that no figure of it is taken for one of this."""
    for command in todo:
        shutil.rmtree(out / command.name, ignore_errors=True)
        for file in (f"{command.name}.json", f"{command.name}.log"):
            (out / file).unlink(missing_ok=True)


def run_all(
    todo: Sequence[Command],
    out: Path,
    run: Callable[[Command, float], tuple[int | None, str]],
    clock: Callable[[], float] = time.monotonic,
    total_s: float = TOTAL_S,
) -> list[Outcome]:
    """Each within its budget and what is left of the whole; a record after each, so that a check
    that is cut off has one, too. run: does one within some seconds; its exit code and output, of
    which the record has the end, and more of it where something went wrong."""
    begin_s = clock()

    def outcome_of(command: Command) -> Outcome:
        start_s = clock()
        left_s = total_s - (start_s - begin_s)
        code, output = None, "no time was left"
        if left_s > LEAST_S:
            code, output = run(command, min(command.budget_s or left_s, left_s))
        (out / f"{command.name}.log").write_text(output, encoding="utf-8")
        return Outcome(
            command.name,
            shlex.join(["llmbench", *command.words]),
            code,
            clock() - start_s,
            output[-2000:] if code == 0 else output[-8000:],
            seen_in(command.name, out) if code in (0, INTERRUPTED, INVALID) else {},
        )

    first = [command for command in todo if command.together]
    with ThreadPoolExecutor(max(1, len(first))) as threads:
        outcomes = list(threads.map(outcome_of, first))
    write_record(out, outcomes)
    for command in todo:
        if not command.together:
            outcomes.append(outcome_of(command))
            write_record(out, outcomes)
    return outcomes


def run_command(command: Command, limit_s: float, program: str = PROGRAM) -> tuple[int | None, str]:
    """Its exit code and output. Shortly before the limit it is asked to end as Ctrl-C does, and so
    keeps what it has; at the limit it ends, and all that it started."""
    running = subprocess.Popen(
        [sys.executable, "-c", program, *command.words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
        start_new_session=True,
    )
    late = ""
    try:
        said, _ = running.communicate(timeout=max(limit_s - GRACE_S, limit_s / 2))
    except subprocess.TimeoutExpired:
        late = f"\nstopped after {limit_s:.0f} s"
        running.send_signal(signal.SIGINT)
        try:
            said, _ = running.communicate(timeout=min(GRACE_S, limit_s / 2))
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            said, _ = running.communicate()
            return None, said + late
    return running.returncode, said + late


def environment() -> dict[str, str]:
    """Of a command: it finds llmbench, installed or not, and what it prints is seen at once."""
    found = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if find_spec("llmbench") is None:
        # As the type checker has it: a folder in which the checkout is called `llmbench`.
        home = ROOT / "build" / "types"
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "llmbench").exists():
            (home / "llmbench").symlink_to(ROOT, target_is_directory=True)
        found["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(home), os.environ.get("PYTHONPATH")))
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every command succeeded, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder for the record")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU")
    parser.add_argument("--seconds", type=float, default=TOTAL_S, help="it ends within them")
    chosen = parser.parse_args(arguments)
    scale = SMOKE if chosen.smoke else FULL
    todo = commands(scale, chosen.out)
    if chosen.dry_run:
        for command in todo:
            budget = "rest" if command.budget_s is None else f"{command.budget_s:.0f} s"
            print(f"{budget:5}  {shlex.join(['llmbench', *command.words])}")
        return 0
    chosen.out.mkdir(parents=True, exist_ok=True)
    forget(todo, chosen.out)
    write_workloads(scale, chosen.out)
    write_small_model(scale, chosen.out)
    outcomes = run_all(todo, chosen.out, run_command, total_s=chosen.seconds)
    for outcome in outcomes:
        print(line_of(outcome))
    return int(any(outcome.exit_code != 0 for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
