"""The report about claims: the verdicts first, then what they rest on."""

from __future__ import annotations

from llmbench.reports.claims_model import Claim, Claims, Evidence
from llmbench.reports.claims_report import HELD_ALL, NOT_ALL, claims_report
from llmbench.reports.html.page import render
from llmbench.reports.markdown import render_markdown

WASTE = Claim(
    "kv-waste",
    "KV waste",
    "Paging <cuts> waste",
    "waste falls",
    "confirmed",
    (
        Evidence("here", "80 % → 2 %", True, False, ("llmbench run --kv contiguous",)),
        Evidence("there", "50 % → 40 %", False, True, ("llmbench simulate",)),
    ),
)
UNKNOWN = Claim(
    "int4", "INT4", "INT4 doubles", "twice", "undecided", (Evidence("x", "y", None, False, ()),)
)


def claims(*found: Claim) -> Claims:
    return Claims(found, "bundled", ("a note",), "llmbench claims")


def test_the_verdicts_are_the_first_sentence() -> None:
    report = claims_report(claims(WASTE, UNKNOWN))
    assert report.verdict == "Confirmed: “Paging <cuts> waste”. Not decided: “INT4 doubles”."
    said = [one.detail for one in report.figures]
    assert said == ["true of 1 of 2", "true of 0 of 1, 1 not decided"]
    assert report.badge == NOT_ALL
    assert claims_report(claims(WASTE)).badge == HELD_ALL


def test_every_trial_and_every_command_is_there() -> None:
    report = claims_report(claims(WASTE, UNKNOWN))
    evidence, *_ = report.sections[0].parts
    assert [row[1].text for row in evidence.rows] == ["measured", "simulated"]  # pyright: ignore
    commands, *_ = report.sections[-1].parts
    assert [row[1].text for row in commands.rows] == [  # pyright: ignore
        "llmbench run --kv contiguous",
        "llmbench simulate",
    ]


def test_by_what_each_claim_is_judged_stands_with_its_evidence_in_every_renderer() -> None:
    """Known wrong here: the Markdown had the evidence and not the condition."""
    report = claims_report(claims(WASTE, UNKNOWN))
    for said in (render(report), render_markdown(report)):
        assert ": confirmed. It is true if waste falls." in said
        assert ": not decided. It is true if twice." in said


def test_what_people_say_is_text_in_every_renderer() -> None:
    report = claims_report(claims(WASTE))
    page, text = render(report), render_markdown(report)
    assert "Paging &lt;cuts&gt; waste" in page
    assert "<cuts>" not in page
    assert "<cuts>" not in text
    assert "80 % → 2 %" in text
