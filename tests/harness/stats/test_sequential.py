"""Levels of looks against published boundaries, and against a simulation of the process."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from llmbench.harness.stats.sequential import first_look, looks

from ...chance import fewest, most


def _bounds(after: tuple[int, ...]) -> list[float]:
    return [NormalDist().inv_cdf(1 - look.level / 2) for look in looks(after, 0.05)]


def test_five_equal_looks_have_the_published_bounds() -> None:
    """Lan and DeMets' spending for Pocock's boundary at 5 % two-sided, as the programs of
    Reboussin, DeMets, Kim and Lan (Controlled Clinical Trials 21, 2000) print it."""
    published = [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]
    assert _bounds((1, 2, 3, 4, 5)) == pytest.approx(published, abs=2e-4)


def test_one_look_has_the_whole_error_rate() -> None:
    (look,) = looks((17,), 0.05)
    assert look.level == pytest.approx(0.05)


def test_a_comparison_that_time_ends_spends_the_rest_at_once() -> None:
    planned = looks((8, 16, 24), 0.05, whole=40, final=False)
    ended = looks((8, 16, 24), 0.05, whole=40)
    assert [look.level for look in planned[:2]] == [look.level for look in ended[:2]]
    assert planned[2].level < ended[2].level < 0.05


def test_the_first_look_can_decide() -> None:
    for whole, error_rate in ((40, 0.05), (40, 0.05 / 3), (200, 0.01)):
        first = first_look(whole, error_rate)
        (look,) = looks((first,), error_rate, whole=whole, final=False)
        assert 2 * 0.5**first <= look.level
        (early,) = looks((first - 1,), error_rate, whole=whole, final=False)
        assert 2 * 0.5 ** (first - 1) > early.level


@pytest.mark.parametrize("after", [(8, 16, 24, 32, 40), (6, 7, 30), (10, 100)])
def test_a_walk_without_effect_leaves_as_often_as_was_asked(after: tuple[int, ...]) -> None:
    rng = np.random.default_rng()
    bounds = _bounds(after)
    walks = np.cumsum(rng.normal(size=(40_000, after[-1])), axis=1)
    left = np.zeros(len(walks), dtype=bool)
    for count, bound in zip(after, bounds, strict=True):
        left |= np.abs(walks[:, count - 1]) > bound * np.sqrt(count)
    assert fewest(len(walks), 0.05) <= left.sum() <= most(len(walks), 0.05)
