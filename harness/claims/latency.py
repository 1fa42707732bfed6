"""“Under 100 ms” does not say of what: of the first token, of each one after it, of a reply."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...reports.claims_model import Claim, Evidence, verdict_of
from ...reports.format import percent, quantity
from .runs import Made, Options, Runs

if TYPE_CHECKING:
    from ..simulated_capacity import EngineCapacity

NAME = "sub-100-ms"
TITLE = "Under 100 ms"
SAYS = "Llama 3 answers in under 100 ms on A100 and H100"
JUDGED = (
    "the first token, and each next one on average, comes within 100 ms: to half of Azure's "
    "conversations, one at a time; to 90 % of them, at a rate of 0.1 requests/s or more. A whole "
    "reply is said, and not judged"
)
LIMIT_S = 0.1
SLO = "ttft:100ms,tpot:100ms"
ATTAINMENT = 0.9
LEAST_PER_S = 0.1
_LOAD: Options = {"engine": "vllm-v1", "workload": "azure-conv", "num-requests": 300}


# No checkpoint is needed to know how long a card takes.
_HERE: Options = {
    "model": "llama-3-8b",
    "load-format": "dummy",
    "num-requests": 32,
    "max-concurrency": 1,
    "warmup-requests": 2,
    "quality-tokens": 0,
}


@dataclass(frozen=True)
class Machine:
    name: str
    options: Options


MACHINES = (
    Machine("Llama-3-8B on an A100", {"model": "llama-3-8b", "hardware": "a100"}),
    Machine("Llama-3-8B on an H100", {"model": "llama-3-8b", "hardware": "h100"}),
    Machine(
        "Llama-3-70B on four A100",
        {"model": "llama-3-70b", "hardware": "a100", "tensor-parallel": 4},
    ),
    Machine(
        "Llama-3-70B on four H100",
        {"model": "llama-3-70b", "hardware": "h100", "tensor-parallel": 4},
    ),
)


def examine(runs: Runs, _model: str, /, *, measure: bool) -> Claim:
    """Measured only where there is a GPU: on a CPU nobody claims it."""
    evidence = tuple(_evidence(runs, measure=measure))
    return Claim(NAME, TITLE, SAYS, JUDGED, verdict_of([one.held for one in evidence]), evidence)


def _evidence(runs: Runs, *, measure: bool) -> Iterator[Evidence]:
    for machine in MACHINES:
        options = {**machine.options, **_LOAD}
        yield alone(machine, runs.simulated({**options, "max-concurrency": 1}))
        yield under_load(machine, *runs.capacity({**options, "slo": SLO}, ATTAINMENT))
    if measure and (card := _card()):
        made = runs.measured({**_LOAD, **_HERE})
        yield alone(Machine(f"Llama-3-8B, random weights, on {card}", _HERE), made)


def _card() -> str:
    """The GPU's name; empty where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def alone(machine: Machine, run: Made) -> Evidence:
    """Nothing waits: what the machine itself takes."""
    said = [
        f"{what} {run.text(f'{metric}.p50')} (p99 {run.text(f'{metric}.p99')})"
        for what, metric in (("first token", "ttft"), ("a next one", "tpot"), ("all", "e2el"))
    ]
    held = all(run.value(name) <= LIMIT_S for name in ("ttft.p50", "tpot.p50"))
    return Evidence(
        f"{machine.name}, one conversation at a time",
        ", ".join(said),
        None if run.objections else held,
        run.simulated,
        (run.command,),
    )


def under_load(machine: Machine, found: EngineCapacity, command: str) -> Evidence:
    """The largest rate at which enough conversations keep both limits."""
    search = found.search
    enough = percent(search.target)
    if search.holds is None:
        assert search.fails is not None
        text = f"{enough} at no rate: alone it is {percent(search.fails.attained)}"
    elif math.isinf(search.holds.rate_per_s):
        text = f"{enough} at any rate"
    else:
        text = f"{enough} up to {quantity(search.holds.rate_per_s, 'requests/s')}"
        text += f"; then {' and '.join(found.binds)} binds" if found.binds else ""
    return Evidence(
        f"{machine.name}, conversations that keep both limits",
        text,
        search.holds is not None and search.holds.rate_per_s >= LEAST_PER_S,
        True,
        (command,),
    )
