"""A value that is not of its option's type: the option, the value, what is allowed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import typer
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.options.unconverted import usage_problem
from llmbench.harness.options.words import run_settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--repeats", "x"], "repeats: 'x' is not allowed; expected a whole number"),
        (["run", "--max-num-seqs", "1.5"], "max_num_seqs: '1.5' is not allowed; expected a whole"),
        (["run", "--price-per-hour", "$2.5"], "price_per_hour: '$2.5' is not allowed; expected a "),
        (["run", "--price-per-hour", "inf"], "price_per_hour: inf is not allowed; expected a fin"),
        (["explain", "x", "--slowest", "0"], "slowest: '0' is not allowed; expected 1 or more"),
        (["schedule", "--view", "x"], "view: 'x' is not allowed; expected one of table, timeline,"),
        (["simulate", "--kv-memory", "9" * 400], "expected at most 1e+18 bytes"),
        (["simulate", "--max-num-batched-tokens", "9" * 400], "expected at most 1e+18"),
        (["simulate", "--max-output-len", "9" * 400], "expected 1 to 1,000,000,000,000"),
        (["simulate", "--workload", "9" * 400], "cannot be looked up: File name too long"),
        (["explain", "9" * 400], "cannot be looked up: File name too long"),
        (["bench-engine", "--batch", "9" * 400], "expected at least 1, at most 1,000,000"),
        (["ab", "--seed", "-1", "--", ""], "seed: -1 is not allowed; expected 0 or more"),
        (["quantize", "bundled", "--out", "no/q", "--threads", "9" * 400], "this machine's cores"),
        (
            ["quantize", "bundled", "--out", "q", "--calibration", ""],
            "calibration: '' is not allowed; expected",
        ),
        (["run", "--nope"], "--nope"),
        (["run", "--repeats"], "--repeats"),
    ],
)
def test_as_typed(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == Exit.USAGE
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert said in error
    assert "\n" not in error


def test_in_a_quoted_text() -> None:
    with pytest.raises(ConfigError, match=r"^a: seed: 'x' is not allowed; expected a wh"):
        run_settings(["--seed", "x"], "a")


@pytest.mark.parametrize(
    ("words", "allowed"),
    [("'x' is not a valid float.", "a number"), ("'x' is not one of 'a', 'b'.", "one of a, b")],
)
def test_as_older_typers_say_it(words: str, allowed: str) -> None:
    """They convert with click, whose error has the value in its words alone."""
    option = SimpleNamespace(name="form", opts=["--a", "--kv-memory"])
    error = typer.BadParameter(words, param=option)  # pyright: ignore[reportArgumentType]
    assert usage_problem(error) == f"kv_memory: 'x' is not allowed; expected {allowed}"
