"""What one run at a rate shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.storage.store import find_run, write_run
from llmbench.harness.sweep.cells import Done
from llmbench.harness.sweep.grid import RATE, Cell
from llmbench.harness.sweep.trial import judged, served_per_s

from ..observed import make_request
from ..stored import stored_run
from .systems import store


def done_of(out: Path, failed: int, count: int = 40, status: str = "failed") -> Done:
    """Of requests that come once a second and end soon; of the last `failed` of them none does."""
    requests = [
        make_request((at + 0.1, at + 0.2), index=at, due_s=at)
        if at < count - failed
        else make_request(index=at, due_s=at, status=RequestStatus(status))
        for at in range(count)
    ]
    store(out, requests)
    return Done(Cell(((RATE, "1"),)), find_run(out))


@pytest.mark.parametrize("status", ["failed", "refused"])
@pytest.mark.parametrize(
    ("failed", "followed", "too_late"), [(0, True, False), (1, False, True), (39, False, True)]
)
def test_a_rate_at_which_a_request_fails_is_not_followed(
    tmp_path: Path, status: str, failed: int, followed: bool, too_late: bool
) -> None:
    trial = judged(1.0, 1, done_of(tmp_path / "r", failed, status=status), None)
    assert (trial.followed, trial.too_late, trial.sure) == (followed, too_late, True)


def test_where_all_fail_it_may_be_for_any_reason(tmp_path: Path) -> None:
    assert judged(1.0, 1, done_of(tmp_path / "r", 40), None).followed is None


def test_what_is_cut_off_shows_nothing(tmp_path: Path) -> None:
    trial = judged(1.0, 1, done_of(tmp_path / "r", 1, status="unfinished"), None)
    assert trial.followed is None


@pytest.mark.parametrize(("failed", "served"), [(0, 40), (20, 20), (40, 0)])
def test_what_is_served_a_second_is_0_where_nothing_is(
    tmp_path: Path, failed: int, served: int
) -> None:
    run = done_of(tmp_path / "r", failed).run
    assert run is not None
    last_s = served - 1 + 0.2
    assert served_per_s(run) == pytest.approx(served / last_s if served else 0.0)


def test_what_is_served_a_second_is_requests_and_not_their_samples(tmp_path: Path) -> None:
    """Ten requests of four replies each within 2.5 s. Known wrong here: 16 a second."""
    replies = [
        replace(make_request((at / 4 + 0.1, at / 4 + 0.25), index=at, due_s=at / 4), sample=sample)
        for at in range(10)
        for sample in range(4)
    ]
    made = stored_run(replies, (), config={"samples": 4})
    workload = made.result.workload.model_copy(update={"num_requests": 10})
    result = made.result.model_copy(update={"workload": workload})
    assert result.duration_s == 2.5
    write_run(tmp_path / "r", result, made.requests, made.steps, {})
    assert served_per_s(find_run(tmp_path / "r")) == 4.0
