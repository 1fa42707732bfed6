"""What a device drew while a run was measured: by counters of its own, read before and after.

No estimate: where no counter can be read there is no number, and the result says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..result import Energy
from .nvml import NvmlMeter, open_nvml
from .rapl import POWERCAP, RaplMeter

if TYPE_CHECKING:
    from pathlib import Path

    import torch

# A package's counter may wrap after some minutes at full power, and one wrap between two readings
# is all that can be told.
POLL_S = 10.0
_Seen = TypeVar("_Seen")


class EnergyMeter(Protocol):
    """source: who counts."""

    source: str

    def joules(self) -> dict[str, float]:
        """Since the meter was made, by domain. Raises OSError where a counter went away."""
        ...


def find_meter(device: torch.device, powercap: Path = POWERCAP) -> EnergyMeter | str:
    """A GPU's counter, or those of the CPU's packages and memory; or why there is none."""
    if device.type == "cuda":
        import torch

        library = open_nvml()
        if isinstance(library, str):
            return library
        return NvmlMeter.of(library, str(torch.cuda.get_device_properties(device).uuid))
    return RaplMeter.of(powercap)


class EnergyCount:
    """Counts from its making to `stop`."""

    def __init__(self, meter: EnergyMeter | str, now: Callable[[], float] = time.monotonic) -> None:
        """meter: just made; or why there is none."""
        self._meter = meter
        self._now = now
        self._start_s = self._polled_s = now()

    def polling(self, then: Callable[[_Seen], None]) -> Callable[[_Seen], None]:
        """A hearer of progress that also reads the counters now and then."""

        def heard(seen: _Seen) -> None:
            now_s = self._now()
            if now_s - self._polled_s > POLL_S:
                self._polled_s = now_s
                self._read()
            then(seen)

        return heard

    def stop(self) -> Energy | str:
        """What was drawn, or why it is not known."""
        source, duration_s = getattr(self._meter, "source", ""), self._now() - self._start_s
        found = self._read()
        if isinstance(found, str):
            return found
        return Energy(source=source, joules_by_domain=found, duration_s=duration_s)

    def _read(self) -> dict[str, float] | str:
        """A counter that could not be read once is not read again: what it missed is not known."""
        if not isinstance(self._meter, str):
            try:
                return self._meter.joules()
            except OSError as error:
                self._meter = f"the counter failed: {error.strerror or error}"
        return self._meter
