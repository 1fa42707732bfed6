"""The capacity of a simulated engine: which rate it holds, what binds there, and its run there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...engines.errors import ConfigError, MissingError
from ...engines.quantization.methods import quant_of
from ...reports.format import rounded_percent
from ...workloads.scaled import (
    Arriving,
    arrival_rate_per_s,
    arriving,
    at_rate,
    behind_cap,
    requests_per_session,
)
from ...workloads.spec import (
    Clients,
    Constant,
    ExponentialRamp,
    Gamma,
    LinearRamp,
    Modulated,
    OnOff,
    Poisson,
    Replay,
    Stages,
)
from ..config import LoadConfig, RunConfig
from ..metrics.goodput import GoodputShare
from ..rate_search.bracket import Search, find_capacity
from ..run.drive import Observation
from ..slo import SLO_WANTED
from ..stats.batches import effective_size
from ..tables.lives import lives
from .capacity_goal import CapacityGoal, Limit, kept_by, limits_of, was_refused
from .simulate import (
    PreparedSimulation,
    fresh,
    measured,
    observe,
    prepare_simulation,
    settings_of,
    simulation_of,
)
from .simulated_machine import Machine
from .simulation_error import LATENCIES_TOO_SHORT

if TYPE_CHECKING:
    from ..run.experiment import Measured
    from ..run.watch import Watch

# Their gaps can be scaled, too.
_OTHERS_WITH_A_RATE = (OnOff, Modulated, LinearRamp, ExponentialRamp, Stages, Clients, Replay)
# Where a workload has no rate of its own, as in a closed loop, its requests come by a Poisson
# process; the search begins at this rate.
START_PER_S = 1.0


@dataclass(frozen=True)
class EngineCapacity:
    """What was found of one engine.

    limits: each limit at the lowest rate that fails (the lowest tried, if none holds), the tightest
    first; empty if every rate holds. refused: why a request was refused there, or empty. run: at
    the largest rate that holds; None if none does. error: how wrong the simulation may be. kept:
    whether each request kept the SLO in that run, or at the lowest rate if none holds; None where
    that cannot be judged. effective: how many independent requests would tell as much of a share
    (`stats/batches.py`), as they kept and missed the SLO at the lowest rate that fails.
    adjustments: what was changed of the workload at every rate, in words. num_requests: of the
    plan; of each, every sample is judged. setting: what was served where, in words. if_too_short:
    for each share of a latency that the simulation may leave out, the largest rate of those tried
    up to the capacity that holds even so; 0 where none does; empty for a calibration, whose errors
    go either way.
    """

    config: RunConfig
    search: Search
    limits: tuple[Limit, ...]
    refused: str
    run: Measured | None
    error: str
    kept: tuple[bool | None, ...] = ()
    effective: float = 0.0
    per_session: float | None = None
    adjustments: tuple[str, ...] = ()
    num_requests: int = 0
    setting: str = ""
    if_too_short: tuple[tuple[float, float], ...] = ()

    @property
    def arriving(self) -> Arriving:
        """What its rates count."""
        return "requests" if self.per_session is None else "sessions"

    @property
    def judged(self) -> int:
        """How many requests, or samples of them, each attainment is a share of."""
        return sum(one is not None for one in self.kept)

    @property
    def interval_per_s(self) -> tuple[float, float]:
        """Between which rates the capacity lies, of what arrives (`rate_search/bracket.py`)."""
        return self.search.interval_per_s(self.effective) if self.effective else (0.0, math.inf)

    @property
    def capacity_per_s(self) -> float:
        """0 where no rate holds, inf where any does."""
        return self.search.holds.rate_per_s if self.search.holds else 0.0

    @property
    def requests_per_s(self) -> float:
        """The capacity in requests: all turns of a session come in the end."""
        return self.capacity_per_s * (self.per_session or 1.0)

    @property
    def burst(self) -> float | None:
        """How many mean lives of what arrives the arrivals of the run at capacity lasted, until the
        last request or session had come: where they are few, the queue of a lasting load had no
        time to grow. None without a run, all at once or where nothing ended."""
        if self.run is None or self.search.outcome != "found":
            return None
        came_s, end_s = lives(self.run.requests)
        ended = np.isfinite(end_s)
        if not ended.any():
            return None
        return float(came_s.max() / (end_s - came_s)[ended].mean())

    @property
    def binds(self) -> tuple[str, ...]:
        """The metrics that the fewest requests kept within their limit just above capacity."""
        least = min((limit.kept for limit in self.limits), default=1.0)
        return tuple(limit.metric for limit in self.limits if limit.kept == least < 1)


def prepare_capacity(config: RunConfig, machine: Machine) -> PreparedSimulation:
    """A simulation at the workload's own rate, checked. Raises ConfigError or WorkloadError."""
    load = _open_loop(config.load)
    prepared = prepare_simulation(replace(config, load=load), machine)
    arrival_rate_per_s(prepared.plan)
    if load.max_concurrency == config.load.max_concurrency:
        return prepared
    load = replace(load, max_concurrency=config.load.max_concurrency)
    plan = behind_cap(prepared.plan, load.max_concurrency)
    return replace(prepared, config=replace(prepared.config, load=load), plan=plan)


def _open_loop(load: LoadConfig) -> LoadConfig:
    """The load with a rate that can be changed. A limit on concurrency becomes a cap beside it, or
    is left out where arrivals that have a rate would not be what they are beside it."""
    from ..run.planning import workload_of

    if load.arrival == "own":  # as ever here
        load = replace(load, arrival=None)
    own = workload_of(replace(load, arrival=None, max_concurrency=None)).arrivals
    if isinstance(own, Poisson | Constant | Gamma):
        return replace(load, request_rate=own.rate_per_s)
    if isinstance(own, _OTHERS_WITH_A_RATE) and load.arrival is None:
        return replace(load, max_concurrency=None)
    return replace(load, request_rate=START_PER_S)


def engine_capacity(
    prepared: PreparedSimulation, goal: CapacityGoal, watch: Watch
) -> EngineCapacity:
    """Search, serving the plan's requests at every rate tried: only their gaps change."""
    if not goal.slo_s:
        raise MissingError("slo", SLO_WANTED)
    trials = _Trials(prepared, goal, watch)
    search = find_capacity(
        trials.attained,
        target=goal.attainment,
        tolerance=goal.rate_tolerance,
        start_per_s=arrival_rate_per_s(prepared.plan),
    )
    run = None
    kept: tuple[bool | None, ...] = ()
    missed: tuple[bool | None, ...] = ()
    if search.holds is not None:
        watch.stage(f"{trials.told}summarising the run at capacity")
        made, seen = trials.served(search.holds.rate_per_s)
        run, kept = measured(made, seen), kept_by(seen.records, goal)
    limits: tuple[Limit, ...] = ()
    refused = ""
    simulation = run.result.simulation if run else None
    if search.fails is not None:
        made, seen = trials.served(search.fails.rate_per_s)
        simulation = simulation or simulation_of(made)
        missed = kept_by(seen.records, goal)
        limits = limits_of(seen.records, goal)
        refused = next((one.detail for one in seen.records if was_refused(one)), "")
    assert simulation is not None, "some rate holds or fails"
    # Misses hang together most plainly where there are some, and as they do at capacity: whether a
    # rate is the capacity is asked as if it were.
    judged = [one for one in missed or kept if one is not None]
    return EngineCapacity(
        prepared.config,
        search,
        limits,
        refused,
        run,
        simulation.error,
        kept or missed,
        effective_size(judged),
        requests_per_session(prepared.plan.description),
        prepared.plan.adjustments,
        len(prepared.plan.requests),
        _setting(prepared),
        trials.if_too_short(search) if prepared.machine.calibration is None else (),
    )


def _setting(prepared: PreparedSimulation) -> str:
    """`llama-3-8b, bfloat16, 1 × h100 (simulated), azure-conv, 500 requests`."""
    machine, quant = prepared.machine, quant_of(settings_of(prepared))
    where = f"{machine.devices} × {machine.hardware}"
    if machine.calibration is not None:
        where = machine.calibration.machine
    parts = (
        prepared.config.model,
        prepared.engine.dtype,
        *([] if quant == "none" else [quant]),
        f"{where} (simulated)",
        str((prepared.plan.description or {}).get("name") or prepared.config.load.workload),
        f"{len(prepared.plan.requests)} requests",
    )
    return ", ".join(parts)


def serve_at(
    prepared: PreparedSimulation, rate_per_s: float, watch: Watch
) -> tuple[PreparedSimulation, Observation]:
    """Serve the plan's requests at another rate. Raises KeyboardInterrupt on Ctrl-C."""
    made = fresh(replace(prepared, plan=at_rate(prepared.plan, rate_per_s)))
    seen = observe(made, watch)
    if seen.interrupted:
        raise KeyboardInterrupt
    return made, seen


class _Trials:
    """Serves the plan at a rate, and keeps what the answer may need: the best that held, the
    lowest that did not."""

    def __init__(self, prepared: PreparedSimulation, goal: CapacityGoal, watch: Watch) -> None:
        self._prepared = prepared
        self._goal = goal
        self._watch = watch
        self._share = GoodputShare(goal.slo_s)
        self._stricter = {
            share: GoodputShare({name: (1 - share) * s for name, s in goal.slo_s.items()})
            for share in LATENCIES_TOO_SHORT
        }
        # By rate: which of these hold, too.
        self._even_so: dict[float, set[float]] = {}
        # By whether the SLO held: the rate nearest to capacity. Observations are large.
        self._nearest: dict[bool, tuple[float, PreparedSimulation, Observation]] = {}
        self.told = f"{prepared.config.label}: "

    def attained(self, rate_per_s: float) -> float:
        of = arriving(self._prepared.plan.description)
        name = "all at once" if math.isinf(rate_per_s) else f"{rate_per_s:.4g} {of}/s"
        self._watch.stage(f"{self.told}trying {name}")
        made, seen = self.served(rate_per_s)
        share = self._share.of(seen.records)
        if share is None:
            judged = ", ".join(self._goal.slo_s)
            raise ConfigError("slo", judged, "a limit that some request can be judged on")
        holds = share >= self._goal.attainment
        self._even_so[rate_per_s] = {
            too_short
            for too_short, stricter in self._stricter.items()
            if (stricter.of(seen.records) or 0.0) >= self._goal.attainment
        }
        kept = self._nearest.get(holds)
        if kept is None or (rate_per_s > kept[0] if holds else rate_per_s < kept[0]):
            self._nearest[holds] = (rate_per_s, made, seen)
        self.told = (
            f"{self._prepared.config.label}: {rounded_percent(share, 2)} keep the SLO at {name}; "
        )
        return share

    def if_too_short(self, search: Search) -> tuple[tuple[float, float], ...]:
        """As `EngineCapacity` has it."""
        capacity_per_s = search.holds.rate_per_s if search.holds else 0.0
        below = {at: even_so for at, even_so in self._even_so.items() if at <= capacity_per_s}
        return tuple(
            (share, max((at for at, even_so in below.items() if share in even_so), default=0.0))
            for share in LATENCIES_TOO_SHORT
        )

    def served(self, rate_per_s: float) -> tuple[PreparedSimulation, Observation]:
        for kept_per_s, made, seen in self._nearest.values():
            if kept_per_s == rate_per_s:
                return made, seen
        return serve_at(self._prepared, rate_per_s, self._watch)
