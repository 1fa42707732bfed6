"""“Under 100 ms” does not say of what: of the first token, of each one after it, of a reply."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...reports.claims_model import Claim, Evidence, verdict_of
from ...reports.format import percent, quantity
from ..simulation.simulation_error import is_below, worst_factor
from .runs import Made, Options, Runs

if TYPE_CHECKING:
    from ..simulation.simulated_capacity import EngineCapacity

NAME = "sub-100-ms"
TITLE = "Under 100 ms"
SAYS = "Llama 3 answers in under 100 ms on A100 and H100"
JUDGED = (
    "the first token, and each next one on average, comes within 100 ms: to half of Azure's "
    "conversations, one at a time; to 90 % of them, at a rate of 0.1 requests/s or more. A whole "
    "reply is said, and not judged; nor is what the error of a simulation could turn round"
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
        found, command = runs.capacity({**options, "slo": SLO}, ATTAINMENT)
        # The limits as the model's error may make them, to the side that would change the answer.
        shift = 1 / worst_factor() if _holds(found) else worst_factor()
        moved = ",".join(f"{one}:{1e3 * LIMIT_S * shift:.4g}ms" for one in ("ttft", "tpot"))
        beside, again = runs.capacity({**options, "slo": moved}, ATTAINMENT)
        yield under_load(machine, found, beside, (command, again))
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
    factor = worst_factor() if run.simulated else 1.0
    kept = [is_below(run.value(name), LIMIT_S, factor) for name in ("ttft.p50", "tpot.p50")]
    held = False if False in kept else None if None in kept else True
    if held is None and not run.objections:
        said.append(f"cannot be told: within the model's error of {LIMIT_S * 1e3:g} ms")
    return Evidence(
        f"{machine.name}, one conversation at a time",
        ", ".join(said),
        None if run.objections else held,
        run.simulated,
        (run.command,),
    )


def _holds(found: EngineCapacity) -> bool:
    holds = found.search.holds
    return holds is not None and holds.rate_per_s >= LEAST_PER_S


def under_load(
    machine: Machine, found: EngineCapacity, beside: EngineCapacity, commands: tuple[str, ...]
) -> Evidence:
    """The largest rate at which enough conversations keep both limits. beside: the same with limits
    as far off as the model's error; where it answers otherwise, nothing can be told."""
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
    sure = _holds(found) == _holds(beside)
    if not sure:
        text += "; cannot be told: other with limits moved by the model's error"
    return Evidence(
        f"{machine.name}, conversations that keep both limits",
        text,
        _holds(found) if sure else None,
        True,
        commands,
    )
