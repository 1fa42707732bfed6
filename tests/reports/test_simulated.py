"""A report of what was not measured says so before its first number."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.html.page import render
from llmbench.reports.markdown import render_markdown
from llmbench.reports.model import Run, Table
from llmbench.reports.run_report import run_report

from .comparisons import comparison_of
from .conftest import cautious, make_run, partial, without_requests

ERROR = "held against <published> numbers: within 4 %"
PREMISE = (
    "Simulated, not measured: no model ran. Step times are a cost model's of 4\u00a0×\u00a0h100, "
    "which takes kernels to reach 52 % of peak arithmetic and 83 % of peak bandwidth. "
    f"How wrong it may be: {ERROR}."
)


def simulated(run: Run, **changes: Any) -> Run:
    """The same run, as if no model had run."""
    result = copy.deepcopy(dict(run.result))
    result["created_at"] = None
    result["memory"]["peak_rss_bytes"] = None
    result["environment"] = {"packages": {"llmbench": "0.1.0"}}
    result["simulation"] = {
        "hardware": "h100",
        "devices": 4,
        "cost_model": "roofline",
        "efficiency": {"prefill": 0.52, "decode": 0.83},
        "step_error": {},
        "run_error": {},
        "extrapolated_steps": 0,
        "error": ERROR,
        **changes,
    }
    return Run(run.name, result, run.requests, run.steps)


@pytest.mark.parametrize(
    ("make", "word", "tone"),
    [
        (make_run, "Simulated", "caution"),
        (cautious, "Simulated, with cautions", "caution"),
        (without_requests, "Simulated, invalid", "bad"),
        (partial, "Simulated, partial", "bad"),
    ],
)
def test_the_badge_is_never_simply_valid(make, word: str, tone: str) -> None:
    badge = run_report(simulated(make())).badge
    assert (badge.word, badge.tone) == (word, tone)


def test_the_premise_names_hardware_cost_model_and_error() -> None:
    assert run_report(simulated(make_run())).premise == PREMISE
    one = run_report(
        simulated(make_run(), devices=1, cost_model="calibrated", efficiency={})
    ).premise
    assert "Step times are a cost model's of h100. How wrong" in one


def test_a_measured_run_has_none() -> None:
    assert run_report(make_run()).premise == ""
    assert "Simulated" not in render_markdown(run_report(make_run()))
    assert 'class="premise"' not in render(run_report(make_run()))


def test_markdown_alerts_before_the_verdict() -> None:
    lines = render_markdown(run_report(simulated(make_run()))).splitlines()
    alert = lines.index("> [!IMPORTANT]")
    assert lines[alert + 1].startswith("> Simulated, not measured: no model ran.")
    assert "\\<published\\>" in lines[alert + 1]
    verdict = next(at for at, line in enumerate(lines) if line.startswith("**paged + awq served"))
    assert alert < verdict


def test_html_says_it_in_the_header_escaped() -> None:
    page = render(run_report(simulated(make_run())))
    head = page[page.index("<header>") : page.index("</header>")]
    assert '<p class="badge caution"><span aria-hidden="true">≈</span> Simulated</p>' in head
    assert '<p class="premise" role="note">Simulated, not measured' in head
    assert "&lt;published&gt;" in head
    assert head.index('class="premise"') < head.index('class="verdict"')


def test_nothing_says_none_where_a_simulation_has_no_value() -> None:
    run = simulated(make_run())
    report = run_report(run)
    for text in (render_markdown(report), render(report).split("<footer>")[0]):
        assert "None" not in text
    assert report.footer == "llmbench 0.1.0 · run 0123456789abcdef"
    assert run_report(make_run()).footer.endswith("2026-01-02T03:04:05+00:00")
    figures = {figure.label: figure.detail for figure in run_report(run).figures}
    assert figures["Weights a step reads"] == ""
    memory = next(
        part
        for section in run_report(run).sections
        for part in section.parts
        if isinstance(part, Table) and part.id == "memory"
    )
    rows = {row[0].text: row[1].text for row in memory.rows}
    assert rows["Process, peak resident"] == "n/a"


def test_the_subtitle_names_the_machine_that_is_simulated() -> None:
    said = run_report(simulated(make_run())).subtitle
    assert said.endswith("on a simulated 4\u00a0×\u00a0h100 · azure-conv-small")


def test_a_comparison_says_which_runs_were_simulated() -> None:
    measured, other = make_run("real"), simulated(make_run("twin"))
    comparison = comparison_of([measured, other])
    report = comparison_report([measured, other], comparison)
    assert report.premise == (
        f"Simulated, not measured: twin (4\u00a0×\u00a0h100). How wrong it may be: {ERROR}."
    )
    runs = next(
        part
        for section in report.sections
        for part in section.parts
        if isinstance(part, Table) and part.id == "runs"
    )
    cells = {row[0].text: [cell.text for cell in row] for row in runs.rows}
    assert cells["twin"][1] == "≈ Simulated"
    assert cells["twin"][-1] == "simulated"
    assert cells["real"][-1] == "2026-01-02\u00a003:04"
    report = comparison_report([measured, other], comparison)
    assert "> [!IMPORTANT]" in render_markdown(report)
    assert 'class="premise"' in render(report)


def test_runs_simulated_alike_share_a_sentence() -> None:
    runs = [simulated(make_run("a")), simulated(make_run("b"))]
    premise = comparison_report(runs, comparison_of(runs)).premise
    assert premise.count("How wrong") == 1
    assert "a (4\u00a0×\u00a0h100); b (4\u00a0×\u00a0h100)" in premise
