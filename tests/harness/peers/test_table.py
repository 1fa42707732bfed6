"""What is shown: medians and bests, the better of ours against the best of theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.peers.base import Variant
from llmbench.harness.peers.record import Turn
from llmbench.harness.peers.table import (
    BEGIN,
    END,
    PeersResult,
    markdown,
    measured_rows,
    update_document,
)
from llmbench.harness.peers.workload import Figure

from .fakes import STARTED

MACHINE = {"cpu": {"usable_cores": 16, "model": "A CPU", "isa": ["avx2"]}}


def turn(engine: str, speed: float, precision: str = "bf16", number: int = 0) -> Turn:
    figures = {str(figure): speed for figure in Figure}
    return Turn(Variant(engine, precision, precision.upper()), number, figures, STARTED, "now")


def result(*turns: Turn, not_measured: dict[str, str] | None = None) -> PeersResult:
    return PeersResult(
        "tiny",
        (4, 6, 8),
        "2026-01-02T03:04:05",
        measured_rows(turns),
        not_measured or {},
        MACHINE,
        "llmbench",
    )


def line(text: str, begins: str) -> str:
    return next(one for one in text.splitlines() if one.startswith(begins))


def test_a_row_is_the_median_and_the_best_of_its_rounds() -> None:
    turns = [turn("llmbench paged", speed, number=n) for n, speed in enumerate((10, 500, 20))]
    (row,) = measured_rows(turns)
    assert (row.rounds, row.figures[Figure.OUTPUT].median, row.figures[Figure.OUTPUT].best) == (
        3,
        20,
        500,
    )
    assert "20.0 (500)" in line(markdown(result(*turns)), "| bf16 | llmbench paged")


def test_rows_stand_by_precision() -> None:
    rows = measured_rows([turn("a", 1, "int4"), turn("b", 1, "bf16"), turn("c", 1, "int8")])
    assert [row.variant.engine for row in rows] == ["b", "c", "a"]


def test_the_ratio_is_of_the_best_on_both_sides() -> None:
    text = markdown(
        result(
            turn("llmbench paged", 30),
            turn("llmbench inflight", 40),
            turn("x", 20),
            turn("y", 10),
            turn("y", 99, "int8"),
        )
    )
    ratios = " | ".join(["2.00 of x BF16"] * 5)
    assert line(text, "| bf16 | BF16 | 2.00") == f"| bf16 | BF16 | {ratios} |"
    assert not any(one.startswith("| int8 | 0") for one in text.splitlines())


def test_each_of_our_formats_has_its_ratio() -> None:
    """Two of ours have the precision of one of a peer's, and are not taken for each other."""
    ours = replace(turn("llmbench paged", 60), variant=Variant("llmbench paged", "bf16", "other"))
    text = markdown(result(turn("llmbench paged", 30), ours, turn("x", 20)))
    assert "1.50 of x BF16" in line(text, "| bf16 | BF16 | 1")
    assert "3.00 of x BF16" in line(text, "| bf16 | other | 3")


def test_what_was_not_measured_is_said() -> None:
    text = markdown(result(turn("x", 1), not_measured={"vLLM": "not installed"}))
    assert "- vLLM: not installed" in text


def test_it_says_where_when_and_how() -> None:
    text = markdown(result(turn("x", 1)))
    for said in ("2026-01-02", "tiny", "3 cores of A CPU", "avx2", "fake 1", "`fake --serve`"):
        assert said in text


def test_the_result_is_json() -> None:
    data = json.loads(json.dumps(result(turn("x", 3.0)).as_json()))
    assert data["rows"][0]["figures"]["output_tokens_per_s"] == {"median": 3.0, "best": 3.0}
    assert data["schema_version"] == 1


def test_a_document_keeps_what_stands_around_the_result(tmp_path: Path) -> None:
    document = tmp_path / "peers.md"
    document.write_text(f"# Peers\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    for text in ("first", "second"):
        update_document(document, text)
    assert document.read_text(encoding="utf-8") == (
        f"# Peers\n\n{BEGIN}\n\nsecond\n{END}\n\nafter\n"
    )


@pytest.mark.parametrize("text", ["no markers", f"{BEGIN} only", f"only {END}"])
def test_a_document_without_the_markers_is_refused(tmp_path: Path, text: str) -> None:
    document = tmp_path / "peers.md"
    document.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="measured: begin"):
        update_document(document, "new")
    assert document.read_text(encoding="utf-8") == text
