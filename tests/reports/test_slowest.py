"""The slowest requests, tokens and steps of a run, against the tables that they are taken from."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from llmbench.reports import slowest
from llmbench.reports.format import count, number, percent
from llmbench.reports.model import Run, Table
from llmbench.reports.run_report import run_report

from .conftest import one_token_replies, without_requests


def column(table: Table | None, title: str) -> list[str]:
    assert table is not None
    at = [one.title for one in table.columns].index(title)
    return [row[at].text for row in table.rows]


def test_requests_that_waited_longest_come_first(run: Run) -> None:
    expected = run.requests.sort_values("ttft_s", ascending=False)["request_id"].head(20)
    assert column(slowest.first_tokens(run), "Request") == expected.tolist()


def test_tokens_of_one_step_are_one_row_that_says_how_many_waited(run: Run) -> None:
    """Known wrong here: one long step was seven rows, and no row said which step it was."""
    found, ends_s = run.result["attribution"], run.steps["end_s"].tolist()
    table = slowest.tokens(run)
    tokens = {f"{one['token']} of {one['request_id']}": one for one in found["slowest_tokens"]}
    shown = [tokens[name] for name in column(table, "Token")]
    steps = [ends_s.index(one["time_s"]) for one in shown]
    ended = [one["time_s"] for one in found["slowest_tokens"]]
    assert len(steps) == len(set(ended)) < len(ended)
    assert [text.split(" to ")[-1] for text in column(table, "Step")] == list(map(count, steps))
    waiting = [
        sum(
            before + found["slow_token_s"] < after == one["time_s"]
            for times_s in run.requests["token_times_s"]
            for before, after in pairwise(times_s)
        )
        for one in shown
    ]
    assert column(table, "Waiting") == list(map(count, waiting))
    assert max(waiting) > 1
    assert table is not None
    assert table.title == f"Steps of the slowest {len(ended)} tokens, in ms"


def test_a_token_names_every_step_since_the_one_before_it(run: Run) -> None:
    """Of separate batching the prompts' steps in between, which made it wait, among them."""
    times_s = run.requests.set_index("request_id")["token_times_s"]
    ends_s = run.steps["end_s"].tolist()
    longest = run.result["attribution"]["slowest_tokens"][0]
    own = times_s[longest["request_id"]]
    first, last = (ends_s.index(own[longest["token"] - back]) for back in (1, 0))
    assert last > first + 1
    assert column(slowest.tokens(run), "Step")[0] == f"{count(first + 1)} to {count(last)}"


def test_a_token_of_no_known_step_keeps_its_row(run: Run) -> None:
    table = slowest.tokens(replace(run, steps=run.steps.iloc[:0]))
    assert column(table, "Step") == ["n/a"] * 20
    assert column(table, "Waiting") == ["n/a"] * 20


def test_the_longest_steps_come_first_with_what_they_computed(run: Run) -> None:
    table = next(part for part in run_report(run).parts if part.id == "slowest-steps")
    assert isinstance(table, Table)
    steps = run.steps.assign(duration_s=run.steps["end_s"] - run.steps["start_s"])
    longest = steps.sort_values("duration_s", ascending=False, kind="stable").head(20)
    assert table.title == "Slowest 20 steps"
    assert column(table, "Step") == [count(one) for one in longest["index"]]
    assert column(table, "Duration (ms)") == [number(1e3 * one) for one in longest["duration_s"]]
    assert column(table, "Prefill tokens") == [count(one) for one in longest["prefill_tokens"]]
    chunks = [count(len(ids)) for ids in longest["chunk_request_ids"]]
    assert column(table, "Requests") == chunks
    own_s = longest[["schedule_s", "prepare_s", "host_s"]].sum(axis=1) / longest["duration_s"]
    assert column(table, "Host") == [percent(one) for one in own_s]


def test_without_times_by_phase_no_share_is_the_hosts(run: Run) -> None:
    phases = ("schedule_s", "prepare_s", "attention_s", "linear_s", "sample_s", "host_s")
    table = slowest.steps(replace(run, steps=run.steps.assign(**dict.fromkeys(phases, 0.0))))
    assert table is not None
    assert table.columns[-1].title == "Requests"
    assert "Host" not in table.note


@pytest.mark.parametrize("part", [slowest.first_tokens, slowest.tokens, slowest.steps])
def test_what_is_not_there_is_left_out(part) -> None:
    assert part(without_requests()) is None


def test_replies_of_one_token_have_no_slow_token() -> None:
    assert slowest.tokens(one_token_replies()) is None
