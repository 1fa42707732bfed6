"""`llmbench … | head`: whoever stops reading ends nothing and changes no verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "import sys; from llmbench.harness.cli import main; main(sys.argv[1:])"


def with_closed_pipe(*words: str, both: bool = False, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose output nobody reads from the start."""
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            stdout=writes,
            stderr=writes if both else subprocess.PIPE,
            env={**os.environ, **environment},
            check=False,
        )
    finally:
        os.close(writes)
    return done.returncode, "" if both else done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [(("engines",), ""), (("engines", "--json"), "1"), (("workload", "--help"), "")],
    ids=["table", "json", "help"],
)
def test_a_listing_that_is_not_read_is_no_error(words: tuple[str, ...], unbuffered: str) -> None:
    assert with_closed_pipe(*words, PYTHONUNBUFFERED=unbuffered) == (0, "")


def test_what_went_wrong_is_still_told(tmp_path: Path) -> None:
    code, said = with_closed_pipe("report", str(tmp_path / "missing"))
    assert code == 2
    assert said.startswith("error: run:")
    assert len(said.splitlines()) == 1


def test_a_run_whose_output_is_not_read_is_stored(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _ = with_closed_pipe(
        "simulate", "--workload", "quick", "--num-requests", "20", f"--out={out}", both=True
    )
    assert code == 0
    assert (out / "report.html").exists()
