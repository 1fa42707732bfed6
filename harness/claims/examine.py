"""Every claim by name, and what is found of those that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ...engines.errors import unknown_name
from ...engines.models.catalogue import resolve_model
from ...reports.claims_model import Claim, Claims
from ..run.watch import Watch
from ..simulation.simulation_error import roofline_error
from . import in_flight, int4, kv_waste, latency
from .runs import Runs


class Examine(Protocol):
    """measure: also on this machine, with `model`."""

    def __call__(self, runs: Runs, model: str, /, *, measure: bool) -> Claim: ...


CLAIMS: dict[str, Examine] = {one.NAME: one.examine for one in (kv_waste, in_flight, int4, latency)}


def examine_claims(
    names: Sequence[str],
    model: str,
    watch: Watch,
    *,
    measure: bool,
    command: str,
    told: Callable[[Claim], None] = lambda _: None,
) -> Claims:
    """names: of `CLAIMS`; none means all. told: hears of each claim as soon as it is decided.
    Raises ConfigError for a name that is none of them, ModelError for a model that
    is not there, and what the runs raise."""
    for name in names:
        if name not in CLAIMS:
            raise unknown_name("claim", name, CLAIMS)
    if measure:
        # Before minutes of simulation.
        resolve_model(model, watch.stage)
    runs = Runs(watch)
    found: list[Claim] = []
    for name in names or CLAIMS:
        found.append(CLAIMS[name](runs, model, measure=measure))
        told(found[-1])
    return Claims(tuple(found), model if measure else "", tuple(_notes(measure)), command)


def _notes(measure: bool) -> list[str]:
    notes = [f"simulated: {roofline_error()}"]
    if measure:
        notes.append(
            "measured on this machine, one run of each, one after the other, but for the steps "
            "that take turns; a speed measured while others used the processors decides nothing"
        )
    else:
        notes.append("nothing was measured on this machine: --simulated")
    return notes
