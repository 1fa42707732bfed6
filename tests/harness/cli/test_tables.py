"""What a terminal says of a run beside its numbers."""

from __future__ import annotations

import pytest
from llmbench.harness.cli.tables import print_run

from ..comparison.in_turn import run_of

SHORT = "to compare times with another run's takes 5 s"


def test_a_run_that_is_too_short_to_be_compared_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Else it is found out when two of them stand beside each other, and nothing is decided."""
    said: dict[str, bool] = {}
    for name, run in {
        "short": run_of(3.0),
        "long": run_of(9.0),
        "simulated": run_of(3.0, simulated=True),
    }.items():
        config = {**run.result.config, "dtype": "float32", "device": "cpu"}
        print_run(run.result.model_copy(update={"config": config}))
        said[name] = SHORT in capsys.readouterr().out
    assert said == {"short": True, "long": False, "simulated": False}
