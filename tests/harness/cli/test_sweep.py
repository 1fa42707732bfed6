"""`llmbench sweep` on the command line: what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.harness.cli import main


@pytest.mark.parametrize(
    ("options", "command", "said"),
    [
        (("--attainment", "90%"), ("--slo", "ttft:1s"), "attainment: '90%'"),
        (("--rate-tolerance=2%",), (), "rate_tolerance: '2%'"),
        (("--start-rate", "4"), (), "start_rate: 4.0"),
        (("--saturate", "--attainment", "90%"), (), "attainment: '90%'"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    options: tuple[str, ...],
    command: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["sweep", "--out", str(tmp_path / "s"), *options, "--", "run", *command])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert f"{said} is not allowed; expected only w" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("axes", "command", "said"),
    [
        (("request-rat=10,20",), ("run",), "vary: '--request-rat=10' is not allowed"),
        (("engine=paged,inflight", "seed=1,two"), ("run",), "'--engine=paged --seed=two'"),
        (("threads=1,2",), ("simulate",), "No such option: --threads"),
        (("engine=paged,inflight",), ("run", "--num-request", "9"), "command: "),
    ],
)
def test_words_that_no_cell_could_take_are_refused_before_any_is_started(
    axes: tuple[str, ...],
    command: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    varied = [f"--vary={axis}" for axis in axes]
    with pytest.raises(SystemExit) as left:
        main(["sweep", "--out", str(tmp_path / "s"), *varied, "--", *command])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()
