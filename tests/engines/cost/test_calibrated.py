"""A machine made up with known costs is found again by the fit, noise and stolen time included."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.cost.calibrated import (
    CalibratedCost,
    Calibration,
    calibration_text,
    load_calibration,
)
from llmbench.engines.cost.features import PART_FEATURES, explain, labels, usable_knots
from llmbench.engines.cost.fit import MeasuredStep, fit_calibration, prediction_errors
from llmbench.engines.cost.work import StepWork
from llmbench.engines.errors import ConfigError


def draw_work(draw: random.Random) -> StepWork:
    """A decode step, a prompt step or a mixed one."""
    kind = draw.random()
    decodes = draw.randrange(1, 24) if kind < 0.8 else 0
    prompts = [(0, draw.randrange(16, 900))] if kind > 0.6 else []
    context = sum(draw.randrange(20, 1000) for _ in range(decodes))
    return StepWork.of(prompts, decodes, context, decodes + len(prompts))


def true_parts(work: StepWork) -> dict[str, float]:
    """Weights take 10 ms to read, which hides eight tokens; then each token costs 0.5 ms, and
    0.3 ms beyond 128, where a better kernel takes over."""
    tokens = work.tokens
    arithmetic_s = 0.5e-3 * min(tokens, 128) + 0.3e-3 * max(0, tokens - 128)
    return {
        "schedule_s": 20e-6 + 2e-6 * work.decode_tokens,
        "prepare_s": 50e-6 + 0.2e-6 * work.prefill_tokens,
        "attention_s": 1e-3 + 2e-6 * work.decode_context_tokens + 0.5e-6 * work.prefill_pairs,
        "linear_s": max(10e-3, 6e-3 + arithmetic_s) + 0.4e-3 * work.sampled_rows,
        "sample_s": 0.1e-3 + 80e-6 * work.sampled_rows,
        "host_s": 80e-6 + 7e-6 * work.decode_tokens,
    }


def measure(
    count: int, seed: int, *, noise: float = 0.0, stolen: float = 0.0, device: bool = False
) -> list[MeasuredStep]:
    """noise: relative, a standard deviation. stolen: share of steps that take four times as long,
    for another tenant had the processor."""
    draw = random.Random(seed)
    steps = []
    for _ in range(count):
        work = draw_work(draw)
        factor = max(0.5, draw.gauss(1, noise)) * (4 if draw.random() < stolen else 1)
        parts = {name: factor * part_s for name, part_s in true_parts(work).items()}
        if device:
            waited_s = parts["attention_s"] + parts["linear_s"] - 1e-3
            parts |= {"attention_s": 0.0, "linear_s": 1e-3}
            parts["sample_s"] += waited_s
        steps.append(MeasuredStep(work, sum(parts.values()), parts))
    return steps


def fit(steps: Sequence[MeasuredStep]) -> Calibration:
    return fit_calibration(
        steps, model="made up", machine="made up", settings={"dtype": "bfloat16"}
    )


def test_a_machine_without_noise_is_found_again() -> None:
    calibration = fit(measure(1500, 1))
    assert calibration.errors["all"].p90 < 0.01
    for phase, error in prediction_errors(calibration, measure(500, 2)).items():
        assert error.p90 < 0.01, phase
        assert abs(error.bias) < 0.005, phase


@pytest.mark.parametrize("seed", [3, 5])
def test_noise_and_stolen_time_do_not_bend_it(seed: int) -> None:
    """One step in twenty takes four times as long; the others' times are still found."""
    calibration = fit(measure(1500, seed, noise=0.03, stolen=0.05))
    for phase, error in prediction_errors(calibration, measure(500, seed + 1)).items():
        assert error.p90 < 0.06, phase
        assert abs(error.bias) < 0.03, phase


def test_each_part_is_found() -> None:
    cost = CalibratedCost(fit(measure(1500, 7)))
    for step in measure(200, 8):
        priced = cost.price(step.work)
        for part, true_s in step.parts.items():
            allowed_s = 0.02 * true_s + 0.002 * step.duration_s
            assert getattr(priced, part) == pytest.approx(true_s, abs=allowed_s), part
        assert priced.total_s == pytest.approx(sum(getattr(priced, part) for part in step.parts))
        assert priced.communicate_s == priced.swap_s == 0


def test_an_accelerators_pass_is_one_part() -> None:
    """There the wait for the device lands in sample_s and attention is not told apart."""
    calibration = fit(measure(1500, 9, device=True))
    assert "attention_s" not in calibration.coefficients
    assert prediction_errors(calibration, measure(300, 10))["all"].p90 < 0.01


def test_errors_are_of_steps_the_fit_did_not_see() -> None:
    steps = measure(500, 11)
    broken = [
        replace(step, duration_s=2 * step.duration_s) if index % 5 == 4 else step
        for index, step in enumerate(steps)
    ]
    errors = fit(broken).errors
    assert errors["all"].steps == 100
    assert errors["all"].median == pytest.approx(0.5, abs=0.02)
    assert errors["all"].bias == pytest.approx(-0.5, abs=0.02)


def test_pricing_is_the_coefficients_times_what_explains_a_step() -> None:
    """The fast path against the definition."""
    calibration = fit(measure(400, 13, noise=0.05))
    cost, draw = CalibratedCost(calibration), random.Random(random.randrange(2**32))
    for _ in range(200):
        work = draw_work(draw)
        for part, features in PART_FEATURES.items():
            names = labels(features, calibration.knots)
            values = explain(work, features, calibration.knots)
            expected = sum(
                calibration.coefficients[part][name] * value
                for name, value in zip(names, values, strict=True)
            )
            assert getattr(cost.price(work), part) == pytest.approx(expected), part


def test_pieces_sum_to_the_tokens() -> None:
    values = explain(StepWork(prefill_tokens=100), ("tokens",), (1, 8, 64, 256))
    assert values == [1.0, 7, 56, 36, 0]
    assert sum(values) == 100


def test_a_piece_with_few_steps_joins_the_one_before() -> None:
    tokens = [1] * 50 + [12] * 50 + [200] * 3
    assert usable_knots(tokens, 8) == (1,)
    assert usable_knots([2] * 50 + [12] * 50 + [200] * 50, 8) == (1, 8, 128)


def test_more_work_never_takes_less() -> None:
    calibration = fit(measure(300, 17, noise=0.3, stolen=0.1))
    assert all(value >= 0 for row in calibration.coefficients.values() for value in row.values())


@pytest.mark.parametrize("count", [0, 99])
def test_too_few_steps(count: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"{count} steps, \d+ with prefill .* at least 100 steps"
    ):
        fit(measure(count, 19))


def test_too_few_of_a_phase() -> None:
    decodes = [step for step in measure(500, 21) if not step.work.prefill_tokens]
    with pytest.raises(ConfigError, match="0 with prefill tokens"):
        fit(decodes)


def test_it_says_where_it_extrapolates() -> None:
    calibration = fit(measure(300, 23))
    assert calibration.beyond(StepWork.of([(0, 100)], 4, 400)) == []
    beyond = calibration.beyond(StepWork.of([(0, 5000)], 500, 400))
    assert {"tokens", "prefill_pairs", "decode_tokens"} <= set(beyond)


def test_a_swap_was_never_measured() -> None:
    with pytest.raises(ConfigError, match="swap"):
        CalibratedCost(fit(measure(300, 25))).price(StepWork(swap_tokens=16))


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    calibration = fit(measure(300, 27, noise=0.1))
    path = tmp_path / "calibration.json"
    path.write_text(calibration_text(calibration))
    assert load_calibration(path) == calibration


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data.update(kind="other"), "llmbench calibrate"),
        (lambda data: data.update(version=99), "calibration version: 99"),
        (lambda data: data["coefficients"].pop("linear_s"), "a whole file"),
        (lambda data: data["coefficients"]["linear_s"].update({"tokens>1": -1.0}), "at least 0"),
        (lambda data: data["coefficients"]["host_s"].update(constant="x"), "at least 0"),
        (lambda data: data["coefficients"]["host_s"].update(constant=math.nan), "at least 0"),
        (lambda data: data["seen"].update(tokens=10**400), "seen.tokens: 1000.* a finite number"),
        (lambda data: data["settings"].pop("dtype"), "a whole file"),
        (lambda data: data["settings"].update(dtype="x"), "settings.dtype: 'x' .* bfloat16"),
        (lambda data: data["settings"].update(group_size="x"), "settings.group_size: 'x' is not"),
        (lambda data: data["settings"].update(force_kernels=[3]), "settings.force_kernels"),
        (lambda data: data["settings"].update(run_ids=None), "settings.run_ids"),
        (lambda data: data["settings"].update(device=3), "settings.device: 3 is not allowed"),
        (lambda data: data.update(settings=[]), "a whole file"),
        (lambda data: data["errors"]["all"].update(steps="x"), "errors.all.steps: 'x' is not"),
        (lambda data: data["errors"]["all"].update(p90=10**400), "errors.all.p90: 1000"),
        (lambda data: data["errors"].pop("all"), "a whole file"),
        (lambda data: data.update(run_error={"ttft": None}), "run_error.ttft: None is not"),
        (lambda data: data.update(knots=["1"]), "calibration knots: "),
        (lambda data: data.pop("seen"), "a whole file"),
        (lambda data: data.update(more=1), "a whole file"),
    ],
)
def test_a_file_that_is_not_one(tmp_path: Path, damage, said: str) -> None:
    path = tmp_path / "calibration.json"
    data = json.loads(calibration_text(fit(measure(300, 29))))
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=said) as caught:
        load_calibration(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file that can be read"):
        load_calibration(tmp_path / "none.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "text.json").write_text(text)
        with pytest.raises(ConfigError, match="a JSON file"):
            load_calibration(tmp_path / "text.json")
