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
