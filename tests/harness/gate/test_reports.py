"""Verdicts in every form, with text from outside that would like to be more than text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from llmbench.harness.gate.github import to_annotations
from llmbench.harness.gate.junit import to_junit
from llmbench.harness.gate.markdown import code, to_markdown
from llmbench.harness.gate.text import to_text
from llmbench.harness.gate.verdicts import VerdictRow, Verdicts, exit_code

from .junit_rules import broken

HOSTILE = [
    "::error::stop\n::set-output name=x::y",
    "%0A::add-mask::x",
    "##[group]x",
    "a\r\n::warning::b",
    "\x1b[31mred\x1b[0m\x00",
    "<img src=x onerror=alert(1)> <script>",
    "]]></failure><testcase/>",
    "| a | b |\n|---|---|",
    "`code` ``more`` @everyone [link](javascript:x) **bold**",
    "x\u2028::error::y \ufffe \ud800",
]


def _verdicts(text: str) -> Verdicts:
    return Verdicts(
        text,
        1,
        (
            VerdictRow(text, text, "regressed", text),
            VerdictRow(text, text, "inconclusive", text),
            VerdictRow("fine", "1 -> 1", "passed"),
        ),
        (text,),
        (text,),
        (text,),
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_is_a_workflow_command_but_ours(text: str) -> None:
    verdicts = _verdicts(text)
    for line in to_text(verdicts).splitlines():
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "\x1b" not in line
    lines = to_annotations(verdicts, "gate.yaml").split("\n")
    assert lines.pop() == ""
    assert len(lines) == 3
    for line in lines:
        # `::level properties::message`, and no other `::` that could end the properties early.
        level, properties = line.removeprefix("::").split("::")[0].split(" ", 1)
        assert level in ("error", "warning")
        assert [part.split("=")[0] for part in properties.split(",")] == ["title", "file"]
        assert line.count("::") == 2
        assert "##[" not in line


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_holds_it_as_text(text: str) -> None:
    markdown = to_markdown(_verdicts(text))
    # What stands outside code spans is ours alone.
    outside = re.sub(r"(`+)(.+?)\1(?!`)", "", markdown)
    for mark in ("<img", "<script", "@everyone", "](", "::", "testcase"):
        assert mark not in outside
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    # Five bars that divide, whatever the cells hold.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


@pytest.mark.parametrize(
    ("text", "span"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", "`a|b`"), ("", "")],
)
def test_code_spans(text: str, span: str) -> None:
    assert code(text) == span


def test_a_bar_is_kept_from_a_table_alone() -> None:
    """In a list a stroke before it would be shown."""
    markdown = to_markdown(_verdicts("runs/a|b"))
    table = [line for line in markdown.splitlines() if line.startswith("| ")]
    rest = [line for line in markdown.splitlines() if line.startswith("- ")]
    assert any("a\\|b" in line for line in table)
    assert any("a|b" in line for line in rest)
    assert not any("a\\|b" in line for line in rest)


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_is_xml_with_the_same_cases(text: str) -> None:
    document = to_junit(_verdicts(text), now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    # expat refuses what XML 1.0 does not allow.
    suite = ElementTree.fromstring(document.encode("utf-8"))
    assert [child.tag for child in suite] == [
        *("properties", "testcase", "testcase", "testcase", "testcase"),
        *("system-out", "system-err"),
    ]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "2", "skipped": "0"}
    assert suite.get("timestamp") == "2026-01-02T03:04:05"
    for case in suite.findall("testcase"):
        assert {"name", "classname", "time"} <= set(case.attrib)
        for child in case:
            assert child.tag in ("failure", "error")
            assert {"type", "message"} <= set(child.attrib)


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_keeps_the_rules_of_its_schemas(text: str) -> None:
    for verdicts in (
        _verdicts(text),
        Verdicts("llmbench ab", 3, (), ("A a, B b",), ("b: its process ended",)),
        Verdicts("", 0, (VerdictRow("q", "1 -> 1", "passed"), VerdictRow("z", "", "improved"))),
        Verdicts("nothing", 0, ()),
    ):
        document = to_junit(verdicts).encode("utf-8")
        assert document.startswith(b"<?xml version='1.0' encoding=")
        assert broken(ElementTree.fromstring(document)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<properties>", "<system-out /><properties>"),
        ('hostname="localhost"', ""),
        ('errors="2"', 'errors="1"'),
        ('time="0"', 'time="0 s"'),
        ('timestamp="', 'timestamp="x'),
        ("<system-err />", "<system-err /><testcase />"),
        ('type="regressed"', ""),
        ("<testcase ", '<testcase file="x" '),
        ("<properties>", "text<properties>"),
    ],
)
def test_the_rules_can_be_broken(before: str, after: str) -> None:
    document = to_junit(_verdicts("plain"))
    assert before in document
    document = document.replace(before, after, 1)
    assert broken(ElementTree.fromstring(document.encode("utf-8")))


def test_many_that_passed_are_folded_away() -> None:
    rows = (
        *[VerdictRow(f"q{i}", "1 -> 1", "passed") for i in range(30)],
        VerdictRow("z", "", "improved"),
    )
    verdicts = Verdicts("gate", 0, rows)
    assert "30 of 31 rows" in to_text(verdicts)
    assert "<details><summary>30 that passed</summary>" in to_markdown(verdicts)
    assert "improved" in to_text(verdicts)


def test_no_more_annotations_than_are_shown() -> None:
    rows = tuple(VerdictRow(f"q{i}", "1 -> 2", "regressed") for i in range(37))
    lines = to_annotations(Verdicts("gate", 1, rows)).splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith("28 more rows did not pass: see the step's log")


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        (["passed", "improved"], 0),
        (["passed", "inconclusive"], 4),
        (["inconclusive", "regressed"], 1),
    ],
)
def test_exit_codes(verdicts: list[str], code: int) -> None:
    assert exit_code(verdicts) == code
