"""What a number of pairs finds, against the normal theory of the signed-rank test."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from llmbench.harness.stats.power import centred, detectable, needed, power
from llmbench.harness.stats.sequential import looks, schedule
from llmbench.harness.stats.signed_rank import Floats

_FIXED = NormalDist().inv_cdf


def normal(count: int) -> Floats:
    """A sample as normal as one of its size can be: the middle of each part of equal chance."""
    return centred(scipy.stats.norm.ppf((np.arange(count) + 0.5) / count))


def test_power_under_no_effect_is_half_the_level() -> None:
    """8000 draws have a standard error of 0.0017."""
    found = power(normal(400), 0.0, looks((30,), 0.05), draws=8000)
    assert found == pytest.approx(0.025, abs=0.005)


@pytest.mark.parametrize("effect", [0.4, 0.7])
def test_pairs_needed_are_those_of_the_normal_theory(effect: float) -> None:
    """Of normal noise the signed-rank test has 3/pi of the t test's efficiency (Hodges and Lehmann,
    1956), and that needs z_a^2 / 2 more pairs than the normal theory says (Guenther, "Sample size
    formulas for normal theory T tests", 1981): n = pi/3 (((z_a + z_b) / effect)^2 + z_a^2 / 2)."""
    z_a, z_b = _FIXED(0.975), _FIXED(0.9)
    theory = math.pi / 3 * (((z_a + z_b) / effect) ** 2 + z_a**2 / 2)
    found = needed(normal(1000), effect, 0.05)
    assert found is not None
    assert found == pytest.approx(theory, rel=0.1)


def test_five_looks_need_a_fifth_more_pairs_than_one() -> None:
    """Pocock's boundary, five looks, two-sided 5 %, power 90 %: 1.207 times as many (Jennison and
    Turnbull, "Group Sequential Methods" (2000), table 2.2)."""
    noise = normal(1000)
    once = math.pi / 3 * ((_FIXED(0.975) + _FIXED(0.9)) / 0.4) ** 2

    def found(count: float, looked: int) -> float:
        plan = looks(schedule(round(count), 0.05, looked), 0.05)
        return power(noise, 0.4, plan, draws=8000)

    assert found(once, 1) == pytest.approx(0.9, abs=0.02)
    assert found(once, 5) < 0.85
    assert found(1.207 * once, 5) == pytest.approx(0.9, abs=0.02)
    few, many = (needed(noise, 0.8, 0.05, looked=count) for count in (1, 5))
    assert few is not None
    assert many is not None
    assert few < many < 1.6 * few


def test_what_is_detectable_with_the_pairs_needed_is_the_effect() -> None:
    noise = centred(np.random.default_rng().standard_t(3, size=300))
    pairs = needed(noise, 0.8, 0.05)
    assert pairs is not None
    assert detectable(noise, looks((pairs,), 0.05)) == pytest.approx(0.8, rel=0.1)


def test_noise_of_a_few_pairs_is_as_wide_as_noise_is() -> None:
    rng = np.random.default_rng()
    variances = [float((centred(rng.normal(size=8)) ** 2).mean()) for _ in range(4000)]
    # Without the correction 0.88; seven standard errors.
    assert np.mean(variances) == pytest.approx(1.0, abs=0.06)


def test_what_cannot_be_found_is_said_so() -> None:
    noise = normal(500)
    assert needed(noise, 1e-4, 0.05) is None
    # Some 650 by the normal theory, and five hundred is what is looked at.
    effect = math.sqrt(math.pi / 3 / 650) * (_FIXED(0.975) + _FIXED(0.9))
    assert needed(noise, effect, 0.05) is None
    assert needed(noise, 0.0, 0.05) is None
    assert detectable(noise, looks((5,), 0.05)) == float("inf")
