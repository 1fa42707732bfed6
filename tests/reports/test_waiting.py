from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from llmbench.reports import step_charts
from llmbench.reports.model import Run
from llmbench.reports.place import Place
from llmbench.reports.waiting import waiting_of

from .conftest import Load, make_run

# Two steps of a second each with an idle second between them, and a third right after.
STEPS = {"start_s": [0.0, 2.0, 3.0], "end_s": [1.0, 3.0, 4.0], "waiting": [0, 1, 0]}


def _run(*requests: tuple[float, float, int]) -> Run:
    """requests: when each was due and scheduled, and which sample of its prompt it is."""
    rows = [
        {"t_due_s": due_s, "t_send_s": due_s, "t_scheduled_s": scheduled_s, "sample": sample}
        for due_s, scheduled_s, sample in requests
    ]
    columns = ["t_due_s", "t_send_s", "t_scheduled_s", "sample"]
    return Run("a", {}, pd.DataFrame(rows, columns=columns), pd.DataFrame(STEPS))


def test_a_request_that_comes_while_a_step_runs_waits_for_the_next() -> None:
    found = waiting_of(_run((0.0, 0.0, 0), (2.25, 3.0, 0)))
    assert found.steps.tolist() == pytest.approx([0.0, 1.75, 0.0])  # one was left, one came
    assert (found.most, found.share) == (2, 0.25)


def test_samples_of_one_prompt_wait_as_one() -> None:
    assert waiting_of(_run((2.5, 3.0, 0), (2.5, 3.0, 1))).most == 2


def test_a_request_that_no_step_took_waits_until_the_end() -> None:
    found = waiting_of(_run((3.5, float("nan"), 0)))
    assert found.steps.tolist() == pytest.approx([0.0, 1.0, 0.5])


def test_waiting_adds_up_to_the_queue_times_of_the_requests(run: Run) -> None:
    """Little's law, as nobody is preempted back into the queue of this model and no request is due
    between steps that follow each other."""
    waited = make_run("late", Load(rate_per_s=40.0, max_num_seqs=4))
    for one in (run, waited):
        found = waiting_of(one)
        lasted_s = (one.steps["end_s"] - one.steps["start_s"]).to_numpy()
        idle_s = 0.001 * len(one.requests)  # at most: each may wait a millisecond for an idle loop
        waited_s = float(one.requests["queue_s"].sum())
        assert waited_s - idle_s <= float(found.steps @ lasted_s) <= waited_s + 1e-9
        assert found.most > 0


def test_the_chart_shows_those_who_wait_for_a_running_step() -> None:
    one = make_run(load=Load(rate_per_s=2.0))
    assert not one.steps["waiting"].any()
    assert (one.requests["queue_s"] > 0.002).any()
    chart = step_charts.queues(Place(one))
    assert chart is not None
    (waiting,) = (line for line in chart.series if line.role == "waiting")
    assert max(waiting.y) > 0
    assert "none ever waited" not in chart.reading
    assert "% of the time" in chart.reading
    assert np.isfinite(waiting.y).all()
