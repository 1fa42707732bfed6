"""Why a comparison's interval is that of the signed-rank test: others, on the same quads.

python -m tests.evidence.intervals
"""

from __future__ import annotations

import math

import numpy as np
from llmbench.harness.ab.judge import worsening
from llmbench.harness.stats.signed_rank import Floats, interval
from llmbench.harness.stats.student import quantile

from ..harness.ab.noise import NOISES
from ..harness.ab.test_judge import TPOT, comparison

SIMULATED = 600
RESAMPLES = 500


def signed_rank(differences: Floats) -> tuple[float, float]:
    found = interval(differences, 0.05)
    return found.low, found.high


def bootstrap(differences: Floats) -> tuple[float, float]:
    """Percentiles of the mean, quads as blocks."""
    n = len(differences)
    means = np.random.default_rng(0).choice(differences, size=(RESAMPLES, n)).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def student(differences: Floats) -> tuple[float, float]:
    n = len(differences)
    reach = quantile(0.95, n - 1) * float(differences.std(ddof=1)) / math.sqrt(n)
    mean = float(differences.mean())
    return mean - reach, mean + reach


def main() -> None:
    rng = np.random.default_rng()
    methods = {"signed rank": signed_rank, "bootstrap": bootstrap, "Student's t": student}
    print("| noise | quads | " + " | ".join(methods) + " |\n|---|---|" + "---|" * len(methods))
    for name, noise in NOISES.items():
        for quads in (8, 12, 40):
            series = [
                worsening(TPOT, *comparison(rng, noise, 1.0, quads)) for _ in range(SIMULATED)
            ]
            cells = []
            for method in methods.values():
                ends = [method(one) for one in series]
                missed = sum(not low <= 0 <= high for low, high in ends) / SIMULATED
                width = float(np.median([high - low for low, high in ends]))
                cells.append(f"{100 * missed:.1f} %, {100 * width:.1f} %")
            print(f"| {name} | {quads} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
