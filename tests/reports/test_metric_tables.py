"""Which percentiles of a metric a run shows."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from llmbench.reports.format import number
from llmbench.reports.metric_tables import distributions, rates
from llmbench.reports.model import Run, Table

from .conftest import Load, make_run

TAILS = ("p90", "p95", "p99")


def shown(table: Table, metric: str) -> list[str]:
    """The percentiles of a row that have a number."""
    (row,) = (row for row in table.rows if row[0].text == metric)
    at = {column.title: cell.text for column, cell in zip(table.columns, row, strict=True)}
    assert "—" not in (at["Mean"], at["p50"], at["Max"])
    return [name for name in TAILS if at[name] != "—"]


@pytest.mark.parametrize(
    ("served", "carried", "why"),
    [
        (5, [], "—: too few samples, for a p99 takes 100, a p95 takes 20 and a p90 takes 10."),
        (12, ["p90"], "—: too few samples, for a p99 takes 100 and a p95 takes 20."),
        (24, ["p90", "p95"], "—: too few samples, for a p99 takes 100."),
    ],
)
def test_no_percentile_is_shown_that_samples_are_too_few_for(
    served: int, carried: list[str], why: str
) -> None:
    """Known wrong here: a caution "too few for a p99", and beneath it a p99 of every latency."""
    table = distributions(make_run("few", Load(num_requests=served)))
    assert shown(table, "TTFT") == shown(table, "E2EL") == carried
    # Token gaps are many, and so are steps.
    assert shown(table, "ITL") == list(TAILS)
    assert table.note.endswith(why)


def test_without_a_steady_window_no_column_is_of_it(run: Run) -> None:
    """Known wrong here: the whole run's rates stood in both columns."""
    assert [one.title for one in rates(run).columns[2:]] == ["Steady window", "Whole run"]
    assert rates(run).note.startswith("Window: ")
    whole = {"start_s": 0.0, "end_s": 9.0, "steady": False, "method": "the whole run, since so"}
    table = rates(replace(run, result={**run.result, "window": whole}))
    assert [one.title for one in table.columns[2:]] == ["Whole run"]
    assert table.note == "No steady window: the whole run, since so."


def test_a_hundred_requests_have_every_percentile() -> None:
    run = make_run("hundred", Load(num_requests=120))
    table = distributions(run)
    assert shown(table, "TTFT") == list(TAILS)
    p99_ms = 1e3 * run.result["metrics"]["ttft"]["stats"]["p99"]
    assert number(p99_ms) in [cell.text for cell in table.rows[0]]
    assert "too few" not in table.note


def test_a_metric_without_a_count_goes_by_the_requests_served(run: Run) -> None:
    result = copy.deepcopy(dict(run.result))
    del result["metrics"]["ttft"]["stats"]["count"]
    result["counters"]["requests_ok"] = 15
    assert shown(distributions(replace(run, result=result)), "TTFT") == ["p90"]
