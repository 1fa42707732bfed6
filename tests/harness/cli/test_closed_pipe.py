"""`llmbench … | head`: whoever stops reading ends nothing and changes no verdict; a full disk ends
nothing and is told of."""

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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_encoding_that_lacks_a_character_ends_no_command(encoding: str) -> None:
    """Known wrong here: a traceback, in the last line of a run perhaps."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "workload", "show", "quick", "--prompts", "0"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    (row,) = (one for one in done.stdout.decode(encoding).splitlines() if one.startswith("output"))
    assert row.replace("\u202f", " ").endswith(" 17 419")


def with_full_disk(*words: str, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose output has no room."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            check=False,
        )
    return done.returncode, done.stderr.decode()


FULL = "error: standard output cannot be written: No space left on device"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_listing_that_cannot_be_written_is_an_error_of_one_line(unbuffered: str) -> None:
    code, said = with_full_disk("engines", "--json", PYTHONUNBUFFERED=unbuffered)
    assert (code, said.splitlines()) == (2, [FULL])


def test_a_run_whose_output_cannot_be_written_is_stored(tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ("simulate", "--workload", "quick", "--num-requests", "20", f"--out={out}", "-q")
    code, said = with_full_disk(*asked)
    assert code == 2
    assert said.splitlines()[-1] == FULL
    assert "Traceback" not in said
    assert (out / "report.html").exists()
