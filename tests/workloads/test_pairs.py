"""Measured pairs: kept together, and every bad row by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.workloads.api import LengthLimits, WorkloadError, plan_workload
from llmbench.workloads.load import load_spec, parse_spec
from llmbench.workloads.pairs import measured_pairs
from llmbench.workloads.spec import PairLengths


def test_a_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("\ufeffname, output_tokens, input_tokens \na, 7, 100\nb,9,200\n")
    spec = PairLengths(kind="pairs", path=path)
    assert measured_pairs(spec).tolist() == [[100, 7], [200, 9]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no column input_tokens, output_tokens; expected a CSV with the columns"),
        ("input_tokens\n5\n", "has no column output_tokens;"),
        ("input_tokens,output_tokens\n", "has no rows; expected at least one row"),
        (
            "input_tokens,output_tokens\n5,6\n5,six\n",
            "has 'six' in column output_tokens at line 3; expected 1 to 16,777,216 tokens",
        ),
        ("input_tokens,output_tokens\n0,6\n", "has '0' in column input_tokens at line 2;"),
        (
            "input_tokens,output_tokens\n5,99999999999999999999999\n",
            "has '99999999999999999999999' in column output_tokens at line 2; expected 1 to",
        ),
        ("input_tokens,output_tokens\n4\n", "has None in column output_tokens at line 2;"),
        ("input_tokens,output_tokens\n5,6,7\n", "has more values than columns at line 2;"),
        (
            "input_tokens,output_tokens,input_tokens\n5,6,7\n",
            "has the column 'input_tokens' more than once;",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(WorkloadError) as caught:
        measured_pairs(PairLengths(kind="pairs", path=path))
    assert problem in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="cannot be read: no such file or directory"):
        measured_pairs(PairLengths(kind="pairs", path=tmp_path / "p.csv"))


def test_pairs_are_drawn_together_each_as_often(tmp_path: Path) -> None:
    """Drawn apart, (1, 200) would come up as well; a share of 1/2 each within 4 deviations."""
    (tmp_path / "p.csv").write_text("input_tokens,output_tokens\n1,2\n100,200\n")
    (tmp_path / "w.yaml").write_text(
        "num_requests: 1000\narrivals: {kind: at_once}\nlengths: {kind: pairs, path: p.csv}\n"
    )
    plan = plan_workload(
        load_spec(tmp_path / "w.yaml"),
        seed=0,
        corpus_token_ids=range(500),
        limits=LengthLimits(None, None, 1000),
    )
    found = [(len(one.prompt_token_ids), one.output_tokens) for one in plan.requests]
    assert set(found) == {(1, 2), (100, 200)}
    assert found.count((1, 2)) == pytest.approx(500, abs=64)


def test_either_pairs_or_a_file() -> None:
    lengths = {"kind": "pairs", "pairs": [[1, 2]], "path": "p.csv"}
    for wrong in (lengths, {"kind": "pairs"}):
        with pytest.raises(WorkloadError, match="expected either pairs or the path of a CSV"):
            parse_spec({"num_requests": 1, "arrivals": {"kind": "at_once"}, "lengths": wrong})
