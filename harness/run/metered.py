"""Serving a plan in this process, and what the machine did meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...engines.api import Engine
from ...engines.clock import Clock
from ...reports.format import plural
from ...workloads.api import Plan
from ..errors import InvalidRun
from ..machine.compiles import check_compiles, counting_compiles
from ..machine.energy import EnergyCount, find_meter
from ..machine.state import check_alone, read_processors
from ..machine.throttling import Throttled, read_throttled
from ..result import Check, Energy
from .drive import Observation, drive
from .summarise import Summary
from .watch import Watch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Metered:
    """alone: whether others used the processors. compiles: whether kernels were compiled meanwhile;
    None where nobody could. energy: or why it is not known."""

    seen: Observation
    throttled: Throttled
    alone: Check
    compiles: Check | None
    energy: Energy | str

    def add_checks(self, summary: Summary) -> Summary:
        """With what the machine did among its checks, but for throttling."""
        summary = summary.with_check(self.alone)
        return summary if self.compiles is None else summary.with_check(self.compiles)


def warm_up(engine: Engine, clock: Clock, plan: Plan, watch: Watch) -> None:
    """Serve requests that are not measured, if there are any. Raises InvalidRun where the engine
    fails, and KeyboardInterrupt: there is nothing to keep yet."""
    if not plan.requests:
        return
    watch.stage(f"warming up with {plural(len(plan.requests), 'request')}")
    seen = drive(engine, clock, plan, on_progress=watch.progress)
    if seen.failure:
        raise InvalidRun(seen.failure)
    if seen.interrupted:
        raise KeyboardInterrupt


def serve_metered(
    engine: Engine, clock: Clock, plan: Plan, device: torch.device, watch: Watch
) -> Metered:
    """device: whose energy is counted."""
    import torch

    watch.stage(f"measuring {plural(len(plan.requests), 'request')}")
    throttled, others = read_throttled(), read_processors()
    counting = EnergyCount(find_meter(device))
    with counting_compiles() as compiles:
        seen = drive(engine, clock, plan, on_progress=counting.polling(watch.progress))
    energy = counting.stop()
    return Metered(
        seen,
        read_throttled().since(throttled),
        check_alone(others, read_processors(), threads=torch.get_num_threads()),
        None if compiles is None else check_compiles(compiles),
        energy,
    )
