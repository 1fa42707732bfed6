"""What is said of searches for the highest rate."""

from __future__ import annotations

from llmbench.reports.sweep_model import SaturationPoint, SweepTable
from llmbench.reports.sweep_report import sweep_report

ANY = SaturationPoint({"engine": "paged"}, "always", None, None)
FOUND = SaturationPoint({"engine": "static"}, "found", 4.0, 4.1)


def table(*points: SaturationPoint) -> SweepTable:
    return SweepTable("simulate", ("engine",), (), (), points, "99 % keep every limit")


def test_all_that_follow_any_rate_are_named_and_what_that_is_worth() -> None:
    other = SaturationPoint({"engine": "inflight"}, "always", None, None)
    report = sweep_report(table(ANY, FOUND, other))
    assert report.verdict == (
        "engine paged and engine inflight: each follows any rate with so few requests: all at "
        "once, too."
    )
    assert any("a burst and not a rate" in text for text in report.statements)


def test_a_highest_rate_needs_no_such_caution() -> None:
    report = sweep_report(table(FOUND))
    assert report.verdict == "engine static follows 4 requests/s, not 4.10."
    assert not any("burst" in text for text in report.statements)


def test_brackets_that_overlap_have_no_winner() -> None:
    near = SaturationPoint({"engine": "paged"}, "found", 3.9, 4.05)
    far = SaturationPoint({"engine": "orca"}, "found", 2.0, 2.1)
    assert sweep_report(table(near, FOUND, far)).verdict == (
        "engine static (follows 4 requests/s, not 4.10) and engine paged (follows 3.90 requests/s, "
        "not 4.05): which follows more cannot be told."
    )
    assert (
        sweep_report(table(FOUND, far)).verdict == "engine static follows 4 requests/s, not 4.10."
    )
