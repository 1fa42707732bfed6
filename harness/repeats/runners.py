"""How each kind of run is repeated: what stays loaded, and what its stored runs must say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from ..cells.identity import Identity, identity_of
from ..cells.real import RealCells
from ..cells.simulated import SimulatedCells
from ..client.prepare import PreparedServerRun, ServerRunConfig, prepare_server_run
from ..config import RunConfig
from ..run.experiment import Measured, Prepared, prepare
from ..run.watch import Watch
from ..simulation.simulated_machine import Machine
from .run import Runner


def in_process(settings: RunConfig, watch: Watch) -> Runner:
    """The weights stay in memory; each repeat has an engine, and so a KV cache, of its own."""
    cells = RealCells(settings, watch)
    return Runner(partial(cells.identify, {}), partial(cells.measure, {}))


def simulated(settings: RunConfig, machine: Machine, watch: Watch) -> Runner:
    cells = SimulatedCells(settings, machine, watch)
    return Runner(partial(cells.identify, {}), partial(cells.measure, {}))


def of_library(settings: RunConfig, library: str, watch: Watch) -> Runner:
    """The library's engine stays loaded, and forgets every prefix before the next repeat."""
    from ..adapters.run import Adapted, load_adapted, measure_adapted, settings_of

    @cache
    def prepared(seed: int) -> Prepared:
        return prepare(replace(settings, seed=seed), watch)

    kept: list[Adapted] = []

    def measure(seed: int) -> Measured:
        if kept:
            kept[0].engine.forget()
        else:
            kept.append(load_adapted(prepared(settings.seed), library, watch))
        return measure_adapted(prepared(seed), library, watch, kept[0])

    def close() -> None:
        for one in kept:
            one.engine.close()

    def identify(seed: int) -> Identity:
        one = prepared(seed)
        told = settings_of(one, library)
        return identity_of(told, settings.load, one.plan, one.plan.fingerprint())

    return Runner(identify, measure, close)


def of_server(settings: ServerRunConfig, watch: Watch) -> Runner:
    """Each repeat has a salt of its own, so that a server which can be told reuses nothing."""
    from ..client.run import measure_server, settings_of

    @cache
    def prepared(seed: int) -> PreparedServerRun:
        return prepare_server_run(replace(settings, seed=seed), watch)

    def identify(seed: int) -> Identity:
        one = prepared(seed)
        told = settings_of(one)
        return identity_of(told, settings.load, one.plan, one.plan.fingerprint())

    return Runner(identify, lambda seed: measure_server(prepared(seed), watch))
