"""What a terminal says of a run beside its numbers."""

from __future__ import annotations

import pytest
from llmbench.harness.cli.tables import print_run

from ..comparison.in_turn import run_of
from ..observed import serve_in_turn
from ..stored import stored_run

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


@pytest.mark.parametrize(("served", "shows"), [(9, "—"), (24, "—"), (120, "ms")])
def test_a_terminal_shows_no_p99_that_requests_are_too_few_for(
    served: int, shows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: a p99 of 24 requests above "24 served requests are too few for a p99"."""
    stored = stored_run(*serve_in_turn(served))
    config = {**stored.result.config, "dtype": "float32", "device": "cpu"}
    print_run(stored.result.model_copy(update={"config": config}))
    lines = capsys.readouterr().out.splitlines()
    (head,) = (line for line in lines if line.startswith("latency"))
    (row,) = (line for line in lines if line.startswith("ttft"))
    ends = [head.index(stat) + len(stat) for stat in ("p90", "p99", "max")]
    p90, p99, greatest = (row[:end].split()[-1] for end in ends)
    assert (p90, p99) == ("—" if served < 10 else "ms", shows)
    assert greatest == "ms"


def test_several_replies_of_a_prompt_are_counted_as_replies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Known wrong here: a load of 2 requests/s of which 6.72 requests/s were served."""
    result = stored_run(*serve_in_turn(24)).result
    workload = result.workload.model_copy(update={"num_requests": 6})
    config = {**result.config, "dtype": "float32", "device": "cpu", "samples": 4}
    print_run(result.model_copy(update={"config": config, "workload": workload}))
    said = capsys.readouterr().out
    assert "24 of 24 replies served" in said
    assert "replies/s" in said
    assert "requests/s" not in said


def test_rows_of_a_table_are_not_in_microseconds_beside_milliseconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Known wrong here: "tpot 544 µs" above "itl 0.544 ms"."""
    result = stored_run(*serve_in_turn(24)).result
    config = {**result.config, "dtype": "float32", "device": "cpu"}
    tpot = result.metrics["tpot"]
    short = tpot.model_copy(update={"stats": {**dict.fromkeys(tpot.stats, 5.44e-4), "count": 24}})
    metrics = {**result.metrics, "tpot": short}
    print_run(result.model_copy(update={"config": config, "metrics": metrics}))
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("tpot"))
    assert "0.544 ms" in row
    assert "µs" not in row
