from __future__ import annotations

import pytest
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.markdown import escape, render_markdown
from llmbench.reports.model import Run
from llmbench.reports.run_report import run_report
from markdown_it import MarkdownIt

from .comparisons import compared_runs, comparison_of
from .conftest import make_run, partial

GITHUB = MarkdownIt("gfm-like", {"linkify": False})


def plain(markdown: str) -> str:
    """The text a reader sees."""
    parts: list[str] = []
    for token in GITHUB.parse(markdown):
        parts += [child.content for child in token.children or () if child.type == "text"]
    return "\n".join(parts)


def check_tables(markdown: str) -> int:
    """Every table of the text becomes one, with as many cells a row as its head; how many."""
    tokens = GITHUB.parse(markdown)
    widths: list[int] = []
    tables = 0
    for token in tokens:
        if token.type == "table_open":
            tables, widths = tables + 1, []
        elif token.type == "tr_open":
            widths.append(0)
        elif token.type in ("td_open", "th_open"):
            widths[-1] += 1
        elif token.type == "table_close":
            assert len(set(widths)) == 1
    rules = [line for line in markdown.splitlines() if line.startswith("| ---")]
    assert tables == len(rules)
    return tables


def test_a_run_in_markdown_has_the_answer_and_well_formed_tables(any_run: Run) -> None:
    text = render_markdown(run_report(any_run))
    assert check_tables(text) >= 5
    assert f"served {any_run.result['counters']['requests_ok']} of" in text
    assert text.startswith(f"## {escape(any_run.name)}")


def test_invalid_runs_shout_in_an_alert() -> None:
    assert "> [!CAUTION]\n> This run is partial" in render_markdown(run_report(partial()))


def test_a_comparison_in_markdown() -> None:
    for count in (2, 3):
        runs = compared_runs(count)
        text = render_markdown(comparison_report(runs, comparison_of(runs)))
        assert check_tables(text) >= 3
        assert "▼ worse 1.31× (1.10 to 1.62)" in plain(text)


@pytest.mark.parametrize(
    "hostile",
    ["a | b", "<script>alert(1)</script>", "`tick`", "**bold**", "[x](http://e.example)", "a\nb"],
)
def test_names_are_shown_as_they_are(hostile: str) -> None:
    run = make_run(hostile)
    run.result["config"]["model"] = hostile
    text = render_markdown(run_report(run))
    assert check_tables(text) >= 5
    assert hostile.replace("\n", " ") in plain(text)
    kinds = {child.type for token in GITHUB.parse(text) for child in token.children or ()}
    assert "link_open" not in kinds
    assert "code_inline" not in kinds
    assert "<script" not in text.replace("\\<script", "")
