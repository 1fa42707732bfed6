"""Steps that are planted are found, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.stats.steps import SHORTEST, _energies, find_steps


def test_energies_are_the_papers_sums() -> None:
    data = np.random.default_rng().normal(size=12)
    apart = np.abs(data[:, None] - data[None, :])
    for place, t in enumerate(range(SHORTEST, len(data) - SHORTEST + 1)):
        x, y = data[:t], data[t:]
        n, m = len(x), len(y)
        across = np.mean([abs(a - b) for a in x for b in y])
        within_x = np.mean([abs(x[i] - x[j]) for i in range(n) for j in range(n) if i != j])
        within_y = np.mean([abs(y[i] - y[j]) for i in range(m) for j in range(m) if i != j])
        expected = n * m / (n + m) * (2 * across - within_x - within_y)
        assert _energies(apart)[place] == pytest.approx(expected)


def test_planted_steps_are_found_where_they_are() -> None:
    rng = np.random.default_rng()
    levels = np.repeat([100.0, 110.0, 95.0], [30, 25, 40])
    steps = find_steps(levels * rng.lognormal(0, 0.01, size=len(levels)))

    assert len(steps) == 2
    for step, at, before, after in zip(steps, (30, 55), (100, 110), (110, 95), strict=True):
        assert abs(step.at - at) <= 1
        assert step.before == pytest.approx(before, rel=0.02)
        assert step.after == pytest.approx(after, rel=0.02)
        assert step.p <= 0.01


@pytest.mark.parametrize("noise", ["normal", "heavy-tailed"])
def test_none_is_found_where_there_is_none(noise: str) -> None:
    rng = np.random.default_rng()
    draw = {"normal": rng.standard_normal, "heavy-tailed": lambda n: rng.standard_t(1.5, n)}[noise]
    series = 100
    alarms = sum(bool(find_steps(draw(40), shuffles=199)) for _ in range(series))
    # 1 %, and five standard deviations.
    assert alarms <= 1 + 5


def test_what_is_too_short_or_equal_has_none() -> None:
    assert find_steps([]) == ()
    assert find_steps([1.0, 1.0, 2.0, 2.0, 2.0]) == ()
    assert find_steps([3.0] * 30) == ()


def test_one_outlier_is_no_step() -> None:
    values = [10.0 + 0.01 * (i % 5) for i in range(40)]
    values[20] = 50.0
    assert find_steps(values) == ()
