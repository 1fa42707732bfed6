"""Whether a run shows a queue: growth worked out by hand, and growth that is chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from llmbench.harness.storage.store import find_run
from llmbench.harness.sweep.keeping_up import KeptUp, kept_up

from ...chance import most
from ..observed import make_request
from .systems import store, store_by_chance, store_sessions


def _kept_up(out: Path, due_s: Sequence[float], stay_s: Sequence[float]) -> float:
    """What a run of requests that come and stay so long shows of its rate."""
    times = [(due + 0.1, due + stay) for due, stay in zip(due_s, stay_s, strict=True)]
    store(out, [make_request(one, index=at, due_s=due_s[at]) for at, one in enumerate(times)])
    return kept_up(find_run(out)).share


def test_a_wait_that_stays_is_no_queue_that_grows(tmp_path: Path) -> None:
    """However long it is, if the run is longer."""
    due_s = [at / 50 for at in range(4000)]
    assert _kept_up(tmp_path / "r", due_s, [15.0] * 4000) == pytest.approx(1.0)
    falling = [15.0 * (1 - 0.5 * at / 4000) for at in range(4000)]
    assert _kept_up(tmp_path / "f", due_s, falling) == 1.0


def test_few_requests_are_seldom_sure_of_a_queue_that_is_none(tmp_path: Path) -> None:
    """Two at a time are there of 60, and they come and go by chance. Known wrong here: by that
    chance 40 a second were not followed by a system that follows any rate."""

    def shown_of(count: int, seed: int) -> KeptUp:
        out = tmp_path / f"{count}-{seed}"
        store_by_chance(out, 40.0, count, seed)
        return kept_up(find_run(out))

    shown = [shown_of(60, seed) for seed in range(200)]
    assert sum(not one.enough for one in shown) > 20
    assert sum(one.sure and not one.enough for one in shown) <= most(200, 0.05)
    long = [shown_of(6000, seed) for seed in range(5)]
    assert all(one.enough and one.sure for one in long)


def test_a_system_that_fills_is_told_from_a_queue(tmp_path: Path) -> None:
    """40 come in a second. Each stays for 2 s; or 32 a second are served, and the n-th stays for
    n (1/32 - 1/40) s more than the first."""
    due_s = [at / 40 for at in range(40)]
    store(
        tmp_path / "filling",
        [make_request((due + 1, due + 2), index=at, due_s=due) for at, due in enumerate(due_s)],
    )
    filling = kept_up(find_run(tmp_path / "filling"))
    assert (filling.enough, filling.sure) == (False, False)
    times = [(0.05 + at / 32, 0.1 + at / 32) for at in range(40)]
    store(
        tmp_path / "queue",
        [make_request(one, index=at, due_s=due_s[at]) for at, one in enumerate(times)],
    )
    queue = kept_up(find_run(tmp_path / "queue"))
    assert queue.longer == pytest.approx(40 / 32 - 1)
    assert (queue.enough, queue.sure) == (False, True)


@pytest.mark.parametrize(("longer", "sure"), [(0.06, False), (0.11, True)])
def test_a_queue_makes_stays_longer_by_half_its_growth_at_least(longer: float, sure: bool) -> None:
    assert KeptUp(growth=0.2, error=0.01, longer=longer).sure == sure


def test_a_run_in_which_nothing_ends_shows_only_growth(tmp_path: Path) -> None:
    """A TTFT of 0.1 s, and replies of 30: latencies would say that any rate is followed."""
    due_s = np.cumsum(np.random.default_rng(0).exponential(1 / 40, 200)).tolist()
    assert _kept_up(tmp_path / "r", due_s, [30.0] * 200) == 0.0


@pytest.mark.parametrize("count", [40, 1000])
def test_a_queue_that_grows_shows_its_rate_whatever_the_length(tmp_path: Path, count: int) -> None:
    """Requests come at 10 a second and end at 8."""
    due_s = [at / 10 for at in range(count)]
    stays_s = [0.2 + at / 8 - due for at, due in enumerate(due_s)]
    assert _kept_up(tmp_path / "r", due_s, stays_s) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("count", [40, 1000])
def test_sessions_that_begin_faster_than_they_end_are_a_queue(tmp_path: Path, count: int) -> None:
    """Sessions begin at 10 a second and end at 8."""
    begun_s = [at / 10 for at in range(count)]
    store_sessions(tmp_path / "r", begun_s, [1.0 + at / 8 for at in range(count)])
    assert kept_up(find_run(tmp_path / "r")).share == pytest.approx(
        0.8, abs=0.08 if count < 99 else 0.02
    )
    store_sessions(tmp_path / "s", begun_s, [due_s + 1.0 for due_s in begun_s])
    assert kept_up(find_run(tmp_path / "s")).share == pytest.approx(1.0, abs=0.05)


def test_sessions_that_all_begin_at_once_follow_no_rate(tmp_path: Path) -> None:
    """Turns come as slowly as they are served. Known wrong here: any rate was followed."""
    begun_s = [at * 1e-6 for at in range(60)]
    store_sessions(tmp_path / "r", begun_s, [2.0 + at / 4 for at in range(60)])
    assert kept_up(find_run(tmp_path / "r")).share == 0.0


def test_one_late_reply_is_no_queue(tmp_path: Path) -> None:
    """The last of 100 requests stays for 3 s of a run of 10, the others not at all."""
    due_s = [at / 10 for at in range(100)]
    assert _kept_up(tmp_path / "r", due_s, [0.15] * 99 + [3.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [1, 5], ids=["one", "at once"])
def test_without_a_rate_nothing_is_followed(tmp_path: Path, count: int) -> None:
    assert _kept_up(tmp_path / "r", [2.0] * count, [0.2] * count) == 0.0
