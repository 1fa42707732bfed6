from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from llmbench.reports.format import number, percent, seconds
from llmbench.reports.model import Report, Run, Table
from llmbench.reports.run_report import run_report

from .conftest import (
    STANDS_FOR,
    Load,
    cautious,
    make_run,
    one_token_replies,
    partial,
    without_requests,
)


def tables(report: Report) -> dict[str, Table]:
    parts = (part for section in report.sections for part in section.parts)
    return {part.id: part for part in parts if isinstance(part, Table)}


def rows(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_the_verdict_says_the_main_numbers_in_words(run: Run) -> None:
    metrics = run.result["metrics"]
    throughput = metrics["output_throughput"]["stats"]["window"]
    ttft = metrics["ttft"]["stats"]
    assert run_report(run).verdict == (
        f"paged + awq served 32 of 32 requests, {number(throughput)} output tokens/s; "
        f"TTFT p50 {seconds(ttft['p50'])}, p95 {seconds(ttft['p95'])} "
        "(too few for a p99: 32 requests); "
        f"{percent(run.result['kv']['waste_share'])} of the KV memory taken was waste."
    )


def test_several_replies_of_a_prompt_are_counted_as_replies(run: Run) -> None:
    """Known wrong here: "240 of 240 requests" of sixty, offered at 2 requests/s and served at
    6.72."""
    config = {**run.result["config"], "samples": 4}
    report = run_report(replace(run, result={**run.result, "config": config}))
    assert "served 32 of 32 replies," in report.verdict
    assert "of the replies met the SLO" in " ".join(report.statements)
    labels = {figure.label: figure for figure in report.figures}
    assert "Replies served" in labels
    assert "(too few for a p99: 32 replies)" in report.verdict
    assert tables(report)["slowest"].title == "Slowest 20 replies, end to end"
    assert {"Replies ok", "Replies failed"} <= set(rows(tables(report)["counters"]))
    drawn = {chart.id: chart for chart in report.charts}
    assert drawn["ecdf-ttft"].reading.startswith("Half of the replies had their first token")
    assert drawn["ecdf-ttft"].note == "32 replies."
    bars = drawn["ttft-parts"].panels[0].y
    assert bars.label.startswith("Replies")
    assert "All, 32 replies" in bars.categories
    assert "replies/s" in labels["SLO attainment"].detail
    assert {"replies/s"} == {
        row[0]
        for row in rows(tables(report)["rates"]).values()
        if "tokens" not in row[0] and "/s" in row[0]
    }


def test_the_workload_is_named_once(run: Run) -> None:
    told = {**run.result["workload"], "name": "quick"}
    told["description"] = {**told["description"], "name": "quick"}
    report = run_report(replace(run, result={**run.result, "workload": told}))
    assert [row[0].text for row in tables(report)["workload"].rows].count("name") == 1


def test_a_latency_has_one_unit_on_its_tile_its_chart_and_in_its_table(run: Run) -> None:
    """Known wrong here: 1.20 s, of an axis to 8 000 ms, and 1 196 ms in the table."""
    found = run.result["metrics"]["e2el"]
    stats = {**found["stats"], "p50": 1.196, "max": 5.34}
    metrics = {**run.result["metrics"], "e2el": {**found, "stats": stats}}
    report = run_report(replace(run, result={**run.result, "metrics": metrics}))
    assert rows(tables(report)["metrics"])["E2EL"][0] == "ms"
    (tile,) = (figure for figure in report.figures if figure.label == "E2EL p50")
    assert (tile.value, tile.unit) == ("1\u202f196", "ms")
    (chart,) = (chart for chart in report.charts if chart.id == "ecdf-e2el")
    assert chart.x.unit == "ms"
    assert "1\u202f196 ms" in chart.reading


def test_a_perplexity_alone_is_held_against_nothing(run: Run) -> None:
    """Known wrong here: "Against the unquantised engine", with n/a in seven rows of eight."""
    beside = ("kl_mean", "kl_p99", "top1_agreement")
    nothing = dict.fromkeys((*beside, *(f"text_{one}" for one in beside)))
    found = {**run.result["quality"], **nothing, "reference_perplexity": None, "compared_tokens": 0}
    report = run_report(replace(run, result={**run.result, "quality": found}))
    table = tables(report)["quality"]
    assert (table.title, list(rows(table))) == ("Perplexity", ["Perplexity"])


def test_the_statements_name_slo_preemptions_and_quality(run: Run) -> None:
    said = " ".join(run_report(run).statements)
    assert "78.1 % of the requests met the SLO (TTFT ≤ 200 ms and TPOT ≤ 50 ms)" in said
    assert "preemption" in said
    # 21.7 / 20.1 - 1
    assert "Perplexity is 21.7, 7.96 % above the unquantised 20.1" in said
    assert "for 90.1 % of the text's tokens and 88.3 % of the answers' tokens." in said


@pytest.mark.parametrize(
    ("make", "word", "tone"),
    [
        (make_run, "Valid", "good"),
        (cautious, "Valid, with cautions", "caution"),
        (without_requests, "Invalid", "bad"),
        (partial, "Partial", "bad"),
    ],
)
def test_the_badge(make, word: str, tone: str) -> None:
    badge = run_report(make()).badge
    assert (badge.word, badge.tone) == (word, tone)
    assert badge.symbol


def test_invalid_and_partial_runs_shout_why() -> None:
    bad = [note.text for note in run_report(partial()).notes if note.tone == "bad"]
    assert "partial" in bad[0]
    assert "Complete: interrupted: 3 of 32 requests did not end." in bad
    bad = [note.text for note in run_report(without_requests()).notes if note.tone == "bad"]
    assert "must not be used" in bad[0]


def test_cautions_and_caveats_stand_beside_the_numbers(run: Run) -> None:
    notes = [note.text for note in run_report(cautious()).notes if note.tone == "caution"]
    assert notes == ["Tail: 32 served requests are too few for a p99."]
    said = " ".join(note.text for note in run_report(run).notes)
    assert "already 8-bit" in said
    assert "3 of 32 prompts clipped to 900 tokens" in said
    assert f"“paged” stands for {STANDS_FOR}." in said


def test_what_follows_from_a_caution_stands_beside_it() -> None:
    checked = cautious()
    (failed,) = (one for one in checked.result["validity"]["checks"] if not one["ok"])
    failed["advice"] = "serve more"
    report = run_report(checked)
    said = "32 served requests are too few for a p99: serve more"
    assert f"Tail: {said}." in [note.text for note in report.notes]
    assert rows(tables(report)["checks"])["tail"] == ["! caution", said]


def test_metrics_are_one_unit_a_row(run: Run) -> None:
    stats = run.result["metrics"]["ttft"]["stats"]
    unit, count, *numbers = rows(tables(run_report(run))["metrics"])["TTFT"]
    assert (unit, count) == ("ms", "32")
    mean, p50, p90, p95, greatest = (
        number(1e3 * stats[name]) for name in ("mean", "p50", "p90", "p95", "max")
    )
    # 32 requests are too few for a p99.
    assert numbers == [mean, p50, p90, p95, "—", greatest]


def test_kv_states_share_the_room_taken(run: Run) -> None:
    found = rows(tables(run_report(run))["kv-states"])
    shares = [float(found[state][3].split()[0]) for state in ("Useful", "Reserved", "Internal")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert found["Shared"][3] == "n/a"


def test_of_a_server_nothing_is_stated_that_nobody_counted(run: Run) -> None:
    """Known wrong here: no preemption in any row, and failures that are exact."""
    unknown = ("steps", "preemptions", "recomputed_tokens")
    result = {
        **run.result,
        "counters": {**run.result["counters"], **dict.fromkeys(unknown)},
        "server_metrics": {
            "failed_scrapes": 5,
            "trouble": "it has no page of metrics",
            "summary": {"scrapes": 0.0},
            "time_s": [],
            "series": {},
        },
    }
    server = replace(run, result=result, requests=run.requests.assign(queue_s=np.nan))
    own, of_server = (tables(run_report(one)) for one in (run, server))
    gone = ["Queue (ms)", "Preemptions", "Recomputed"]
    kept = [column.title for column in own["slowest"].columns if column.title not in gone]
    assert len(own["slowest"].columns) == len(kept) + len(gone)
    assert [column.title for column in of_server["slowest"].columns] == kept
    assert own["counters"].note.startswith("Exact")
    assert of_server["counters"].note == ""
    assert "Means of a step's tokens" in own["metrics"].note
    assert "Means of a step's tokens" not in of_server["metrics"].note
    note = of_server["server-own-summary"].note
    assert note == "The first that failed: it has no page of metrics."


def test_the_slowest_requests_are_slowest_first() -> None:
    run = make_run("many", Load(num_requests=60))
    table = tables(run_report(run))["slowest"]
    slowest = run.requests.sort_values("e2el_s", ascending=False)["request_id"].head(20)
    assert [row[0].text for row in table.rows] == slowest.tolist()


def test_requests_that_were_not_served_say_why() -> None:
    found = tables(run_report(without_requests()))
    assert "slowest" not in found
    assert rows(found["not-served"])["req-0"] == ["refused", "prompt longer than the model <b>"]


def test_nothing_served_is_reported_without_numbers() -> None:
    report = run_report(without_requests())
    assert report.verdict.startswith("paged + awq served 0 of 4 requests, 0 output tokens/s")
    figures = {figure.label: figure for figure in report.figures}
    assert "TTFT p50" not in figures
    assert figures["KV waste"].value == "n/a"
    assert "no steady window was found" in " ".join(report.statements)


def test_the_tile_of_requests_lists_only_the_ends_that_there_were(run: Run) -> None:
    def tile(of: Run) -> tuple[str, str, str]:
        figures = {figure.label: figure for figure in run_report(of).figures}
        one = figures["Requests served"]
        return one.value, one.unit, one.detail

    assert tile(run) == ("32", "of 32", "")
    assert tile(without_requests()) == ("0", "of 4", "4 refused")
    result = copy.deepcopy(dict(run.result))
    result["counters"] |= {"requests_failed": 2, "requests_unfinished": 1}
    assert tile(replace(run, result=result)) == ("32", "of 35", "2 failed, 1 unfinished")


def test_a_latency_that_no_request_has_takes_no_place_among_the_key_figures() -> None:
    figures = {figure.label: figure.value for figure in run_report(one_token_replies()).figures}
    assert "TPOT p50" not in figures
    assert figures["TTFT p50"] != "n/a"
    none = {figure.label for figure in run_report(without_requests()).figures}
    assert not any(label.endswith("p50") for label in none)


def test_quality_says_what_each_number_is_measured_on(run: Run) -> None:
    table = next(part for part in tables_of(run) if part.id == "quality")
    rows = {row[0].text: (row[1].text, row[2].text) for row in table.rows}
    text = "4\u202f094 tokens of held-out text, windows of 2\u202f048"
    assert rows["Perplexity"] == ("21.7", text)
    on_text = "over the same tokens, in the same windows"
    assert rows["KL divergence on the text, mean"] == ("0.0371 nats", on_text)
    assert rows["Top-1 agreement on the text"][0] == "90.1 %"
    on_answers = "over 2\u202f011 tokens of this run's answers"
    assert rows["KL divergence on the answers, mean"] == ("0.0412 nats", on_answers)


def test_without_quality_there_is_no_quality_section(run: Run) -> None:
    plain = run_report(make_run("plain", with_quality=False))
    assert "quality" not in {section.id for section in plain.sections}
    assert "quality" in {section.id for section in run_report(run).sections}


def test_ids_are_unique_so_that_links_lead_somewhere(any_run: Run) -> None:
    report = run_report(any_run)
    parts = [part.id for section in report.sections for part in section.parts]
    assert len(set(parts)) == len(parts)
    assert all(section.parts for section in report.sections)


def test_every_row_has_a_cell_for_every_column(any_run: Run) -> None:
    for table in tables(run_report(any_run)).values():
        for row in table.rows:
            assert len(row) == len(table.columns)


def tables_of(run: Run) -> list[Table]:
    parts = [part for section in run_report(run).sections for part in section.parts]
    return [part for part in parts if isinstance(part, Table)]
