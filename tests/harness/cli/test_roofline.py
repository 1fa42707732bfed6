from __future__ import annotations

from pathlib import Path

from llmbench.engines.cost.published import compare_with_published
from llmbench.harness.cli.roofline_tables import comparison_markdown

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "roofline.md"


def test_the_document_holds_these_tables() -> None:
    tables = comparison_markdown(compare_with_published())
    assert tables.strip() in DOCUMENT.read_text(encoding="utf-8")
