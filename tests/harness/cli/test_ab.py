"""`llmbench ab` end to end: two processes that serve the bundled model, and the page about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.harness.cli import main

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = "--threads 1 --warmup-requests 0 --max-output-len 4"


def test_two_sides_take_turns_and_their_report_says_what_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many pairs as one metric takes at least; whatever the verdict is, the page has it."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    page, out = tmp_path / "turns.html", tmp_path / "ab.json"
    words = [
        *("ab", OPTIONS, f"{OPTIONS} --max-num-seqs 2", "--b-tree", str(ROOT), "--quiet"),
        *("--max-regression", "tpot.mean=50%", "--effect", "90%"),
        *("--pairs", "12", "--num-requests", "4", "--html", str(page), "--out", str(out)),
    ]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code in (0, 1, 4)

    text = page.read_text()
    told = json.loads(out.read_text())
    assert told["pairs"] + 2 * len(told["dropped"]) >= 12
    assert told["asked"]["environment"]["cpu"]["usable_cores"] >= 1
    assert f"{OPTIONS} --max-num-seqs 2" in text
    assert f"{ROOT}, commit " in text or not (ROOT / ".git").exists()
    assert "max_num_seqs" in text
    assert "Every pair of TPOT mean" in text

    with pytest.raises(SystemExit) as left:
        main(["report", str(out)])
    assert left.value.code == 0
    assert (tmp_path / "ab.html").read_bytes() == page.read_bytes()
