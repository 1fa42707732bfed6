"""The document that describes the tables says what the code says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from llmbench.harness.tables.columns import REQUESTS, STEPS, Column

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "tables.md"


def markdown(columns: Sequence[Column]) -> str:
    rows = [
        f"| `{one.name}` | {one.unit} | {one.says} | {one.empty} |".replace("|  |", "| |")
        for one in columns
    ]
    return "\n".join(("| column | unit | what it is | says nothing |", "|---|---|---|---|", *rows))


@pytest.mark.parametrize(
    ("file", "columns"), [("requests", REQUESTS), ("steps", STEPS)], ids=["requests", "steps"]
)
def test_the_document_has_each_column_as_the_code_has_it(
    file: str, columns: Sequence[Column]
) -> None:
    _, _, after = DOCUMENT.read_text(encoding="utf-8").partition(f"## `{file}.parquet`")
    section, _, _ = after.partition("\n## ")
    table = [line for line in section.splitlines() if line.startswith("|")]
    assert table == markdown(columns).splitlines()


@pytest.mark.parametrize("columns", [REQUESTS, STEPS], ids=["requests", "steps"])
def test_names_say_what_unit_they_have(columns: Sequence[Column]) -> None:
    """As everywhere in a result: `_s` for seconds, `_tokens` for tokens."""
    wrong = [
        one.name
        for one in columns
        for ending, unit in (("_s", "s"), ("_tokens", "tokens"))
        if one.name.endswith(ending) and one.unit not in (unit, f"{unit} each")
    ]
    assert wrong == []
