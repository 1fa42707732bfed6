"""Energy of a CPU by RAPL, the counters of its packages and their memory.

Source: Linux, Documentation/power/powercap: `/sys/class/powercap/intel-rapl:*` (AMD's, too), in
microjoules, from 0 to `max_energy_range_uj`, where a counter begins again. Since Linux 5.10 only
root may read them (CVE-2020-8694).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
# A package holds its cores and its graphics, but not its memory; `psys` holds everything, too.
_COUNTED = ("package", "dram")


@dataclass(frozen=True)
class Domain:
    """name: as package-0, or package-0 dram. range_uj: what its counter wraps at."""

    name: str
    counter: Path
    range_uj: int

    def read_uj(self) -> int:
        return int(self.counter.read_text())


class RaplMeter:
    """Sums what counters rose by, over wraps, from reading to reading."""

    source = "RAPL"

    def __init__(self, domains: Sequence[Domain]) -> None:
        """Raises OSError where a counter cannot be read."""
        self._domains = tuple(domains)
        self._last_uj = [domain.read_uj() for domain in domains]
        self._risen_uj = [0] * len(self._domains)

    @classmethod
    def of(cls, powercap: Path) -> RaplMeter | str:
        """Of all that there are to count; or why nothing can be."""
        domains = find_domains(powercap)
        if not domains:
            return "there are no RAPL counters here"
        try:
            return cls(domains)
        except OSError as error:
            return f"RAPL counters are not readable here ({error.strerror})"

    def joules(self) -> dict[str, float]:
        """Since it was made, by domain; right while a counter wraps at most once between calls."""
        for at, domain in enumerate(self._domains):
            now_uj = domain.read_uj()
            rise_uj = now_uj - self._last_uj[at]
            self._risen_uj[at] += rise_uj if rise_uj >= 0 else rise_uj + domain.range_uj
            self._last_uj[at] = now_uj
        return {
            domain.name: risen_uj / 1e6
            for domain, risen_uj in zip(self._domains, self._risen_uj, strict=True)
        }


def find_domains(powercap: Path) -> list[Domain]:
    """Packages, and the memory of each: nothing is counted twice."""
    found: list[Domain] = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        name, counter = _text(zone / "name"), zone / "energy_uj"
        range_uj = _text(zone / "max_energy_range_uj")
        if not name.startswith(_COUNTED) or not range_uj.isdigit() or not counter.exists():
            continue
        # A part's zone is named after its package's, as intel-rapl:0:1.
        package = _text(powercap / zone.name.rpartition(":")[0] / "name")
        found.append(Domain(f"{package} {name}".strip(), counter, int(range_uj)))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
