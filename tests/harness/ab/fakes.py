"""Sides that take as long as they are told, without a process or a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmbench.harness.ab.asked import Asked, AskedSide
from llmbench.harness.ab.protocol import SideIdentity, Trial

ASKED = Asked(
    "llmbench ab",
    "2026-01-02T03:04:05+00:00",
    0,
    AskedSide(("--engine", "paged"), "", "1a2b3c4d5e"),
    AskedSide(("--engine", "paged", "--quant", "awq"), "../other", ""),
    {"python": "3.12.1", "cpu": {"model": "A processor", "usable_cores": 2}, "gpus": []},
)


class FakeSide:
    """time_of: seconds of a trial, from its seed. Serves what its seed says."""

    def __init__(
        self,
        time_of: Callable[[int], float],
        *,
        idle_s: float = 0.0,
        workload: str = "same",
        more: Mapping[str, float] | None = None,
    ) -> None:
        self.identity = SideIdentity("fake", "0", 320, {"engine": "fake"})
        self.trials: list[tuple[int, int]] = []
        self.limits_s: list[float] = []
        self._time_of = time_of
        self._idle_s = idle_s
        self._workload = workload
        self._more = more or {}
        self._asked = 0

    def trial(self, seed: int, num_requests: int, limit_s: float) -> Trial:
        self.limits_s.append(limit_s)
        self.trials.append((seed, num_requests))
        time_s = self._time_of(seed) * num_requests
        values = {"tpot.mean": time_s, "output_throughput.run": 1 / time_s, **self._more}
        return Trial(f"{self._workload}/{seed}/{num_requests}", time_s, values)

    def cpu_s(self) -> float:
        self._asked += 1
        return self._asked * self._idle_s
