from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.cost.calibrated import load_calibration
from llmbench.engines.cost.work import StepWork
from llmbench.engines.errors import ConfigError
from llmbench.engines.trace import PhaseTimes, StepTrace
from llmbench.harness.cli import main
from llmbench.harness.simulation.calibrate import calibrate_runs, measured_steps, step_works
from llmbench.harness.storage.store import StoredRun, write_run
from llmbench.harness.tables.steps import steps_frame

from ..observed import make_step, serve_in_turn
from ..stored import SIMULATION, stored_run


def timed(step: StepTrace) -> StepTrace:
    """Where the time of `serve_in_turn`'s steps might have gone."""
    duration_s = step.end_s - step.start_s
    phases = PhaseTimes(linear_s=0.75 * duration_s, attention_s=0.25 * duration_s)
    return replace(step, phases=phases)


def run_of(count: int, step_s: float = 0.01, **settings) -> StoredRun:
    requests, steps = serve_in_turn(count, step_s=step_s)
    return stored_run(requests, [timed(step) for step in steps], **settings)


def test_work_of_the_steps_of_a_schedule() -> None:
    """a: a prompt of 5 in two chunks, then decodes; b: preempted, its context computed again."""
    steps = [
        make_step([("a", "prefill", 0, 3)]),
        make_step([("a", "prefill", 3, 2), ("b", "prefill", 0, 4)]),
        make_step([("a", "decode", 5, 1), ("b", "decode", 4, 1)]),
        make_step([("a", "decode", 6, 1)], preempted=("b",)),
        make_step([("b", "prefill", 0, 6), ("a", "decode", 7, 1)]),
    ]
    assert step_works(steps_frame([], steps)) == [
        StepWork(3, 1, 1 + 2 + 3, 3, 0, 0, 0),
        StepWork(6, 2, (4 + 5) + (1 + 2 + 3 + 4), 5 + 4, 0, 0, 2),
        StepWork(decode_tokens=2, decode_context_tokens=6 + 5, sampled_rows=2),
        StepWork(decode_tokens=1, decode_context_tokens=7, sampled_rows=1),
        StepWork(6, 1, 21, 6, 1, 8, 2),
    ]


def test_a_window_bounds_what_is_attended() -> None:
    steps = [make_step([("a", "prefill", 0, 10)]), make_step([("a", "decode", 10, 1)])]
    prefill, decode = step_works(steps_frame([], steps), window=4)
    assert prefill.prefill_pairs == 1 + 2 + 3 + 7 * 4
    assert decode.decode_context_tokens == 4


def test_steps_keep_their_times() -> None:
    step = measured_steps(run_of(3))[0]
    assert step.duration_s == pytest.approx(0.01)
    assert step.parts["linear_s"] == pytest.approx(0.0075)
    assert step.phase == "prefill"


def test_runs_of_one_kind_are_fitted_together() -> None:
    """Every step takes 10 ms whatever it computes, so that is what is predicted."""
    calibration = calibrate_runs([run_of(40, label="one"), run_of(40, label="two")])
    assert calibration.steps == 2 * 40 * 8
    assert calibration.settings["runs"] == ["one", "two"]
    assert calibration.machine == "Some CPU, 2 cores, 2 threads"
    assert calibration.errors["all"].p90 < 1e-3


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"config": {"quant": "awq"}}, "quant is 'none', not 'awq'"),
        ({"config": {"kv_dtype": "int8"}}, "kv_dtype is 'auto', not 'int8'"),
        ({"config": {"model_impl": "transformers"}}, "model_impl is None, not 'transformers'"),
        ({"config": {"group_size": 64}}, "group_size is None, not 64"),
        ({"config": {"quant_bits": 8}}, "quant_bits is None, not 8"),
        (
            {"config": {"force_kernels": ("linear=torch",)}},
            r"force_kernels is \[\], not \['linear=torch'\]",
        ),
        ({"config": {"dtype": "float32"}}, "dtype is None, not 'float32'"),
        ({"environment": {"cpu": {"model": "Another", "usable_cores": 2}}}, "machine is"),
    ],
)
def test_runs_of_two_kinds(other: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        calibrate_runs([run_of(40), run_of(40, **other)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"simulation": SIMULATION}, "a run that was measured; this was simulated"),
        ({"interrupted": True}, "a valid run; of this one: interrupted: 0 of 40"),
    ],
    ids=["simulated", "partial"],
)
def test_only_what_was_measured_and_is_valid_is_fitted(other: dict, said: str) -> None:
    """Alone, or beside one that is."""
    for runs in ([run_of(40, **other)], [run_of(40), run_of(40, **other)]):
        with pytest.raises(ConfigError, match=f"run: 'paged' is not allowed; expected {said}"):
            calibrate_runs(runs)


def test_no_run_and_too_short_a_run() -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        calibrate_runs([])
    with pytest.raises(ConfigError, match="80 steps, 10 with prefill"):
        calibrate_runs([run_of(10)])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(40, config={"dtype": "float32"})
    directory = write_run(tmp_path / "run", run.result, run.requests, run.steps, {})
    out = tmp_path / "made" / "with it" / "calibration.json"
    with pytest.raises(SystemExit) as left:
        main(["calibrate", str(directory), "--out", str(out)])
    assert left.value.code == 0
    assert "held-out steps" in capsys.readouterr().out
    assert load_calibration(out).steps == 320


def test_where_the_calibration_goes_is_checked_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: a traceback at the end, `NotADirectoryError`."""
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "calibration.json"
    with pytest.raises(SystemExit) as left:
        main(["calibrate", str(tmp_path / "no run"), "--out", str(out)])
    assert left.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: out: ")
    assert "is a file, and no directory" in said


def test_the_command_with_too_short_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(3)
    directory = write_run(tmp_path / "run", run.result, run.requests, run.steps, {})
    out = tmp_path / "calibration.json"
    with pytest.raises(SystemExit) as left:
        main(["calibrate", str(directory), "--out", str(out)])
    assert left.value.code == 2
    assert "24 steps, 3 with prefill" in capsys.readouterr().err
    assert not out.exists()


def test_the_roofline_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["roofline"])
    assert left.value.code == 0
    assert "| 20000 / 2000 |" in capsys.readouterr().out
