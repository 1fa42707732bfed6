"""Cells run in virtual time: the same policies, on a machine that repeats itself exactly."""

from __future__ import annotations

from dataclasses import replace

from ...engines.config import with_choices
from ...engines.errors import ConfigError
from ...workloads.api import Plan
from ...workloads.sharing import shared_blocks
from ..config import RunConfig
from ..run.experiment import Measured
from ..run.watch import Watch
from ..simulation.simulate import PreparedSimulation, prepare_simulation, settings_of
from ..simulation.simulate import simulate as measure
from ..simulation.simulated_machine import Machine
from .identity import Identity, identity_of
from .runner import Overrides


class SimulatedCells:
    """Runs cells as `llmbench simulate` would, with one plan in memory at a time.

    settings: the run that every cell changes.
    """

    def __init__(self, settings: RunConfig, machine: Machine, watch: Watch) -> None:
        self._settings = settings
        self._machine = machine
        self._watch = watch
        self._planned: tuple[tuple[object, ...], Plan, str] | None = None
        self._sent: dict[tuple[object, ...], int] = {}

    def identify(self, overrides: Overrides, seed: int) -> Identity:
        prepared = self._prepare(overrides, seed)
        assert self._planned is not None
        fingerprint = self._planned[2]
        self._refuse_equal_repeats(prepared, seed)
        return identity_of(settings_of(prepared), prepared.config.load, prepared.plan, fingerprint)

    def measure(self, overrides: Overrides, seed: int) -> Measured:
        return measure(self._prepare(overrides, seed), self._watch)

    def _prepare(self, overrides: Overrides, seed: int) -> PreparedSimulation:
        """The plan is made once for all cells that are sent it: a whole trace takes seconds."""
        engine = with_choices(self._settings.engine, **overrides)
        config = replace(self._settings, engine=engine, seed=seed)
        key = (seed, engine.max_model_len)
        if self._planned is not None and self._planned[0] == key:
            return prepare_simulation(config, self._machine, self._planned[1])
        prepared = prepare_simulation(config, self._machine)
        self._planned = (key, prepared.plan, prepared.plan.fingerprint())
        return prepared

    def _refuse_equal_repeats(self, prepared: PreparedSimulation, seed: int) -> None:
        """A repeat that is sent nothing new shows no spread, and would pass for certainty."""
        engine = prepared.engine
        timing = (
            engine.max_model_len,
            _timing(prepared.plan),
            _sharing(prepared.plan, engine.block_size) if engine.prefix_cache else None,
        )
        if self._sent.setdefault(timing, seed) != seed:
            raise ConfigError(
                "repeats",
                "more than 1",
                "1: every seed sends this workload's requests at the same times, and a simulated "
                "machine does the same with them",
            )


def _timing(plan: Plan) -> int:
    """All of a plan that step times depend on, but for which prompts begin alike."""
    return hash(
        tuple(
            (
                *(one.t_due_s, len(one.prompt_token_ids), one.output_tokens, one.samples),
                *(one.after, one.think_s),
            )
            for one in plan.requests
        )
    )


def _sharing(plan: Plan, block_size: int) -> int:
    """Which prompts begin alike, in whole blocks, whatever they say: what a prefix cache finds."""
    prompts = [one.prompt_token_ids for one in plan.requests]
    return hash(tuple(one.tobytes() for one in shared_blocks(prompts, block_size)))
