"""Fits of known processes come back, and fits of real traces behave as the traces do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from llmbench.workloads import processes
from llmbench.workloads.api import LengthLimits, WorkloadError, plan_workload
from llmbench.workloads.fitting import FittedWorkload, fit_trace
from llmbench.workloads.fitting.arrivals import drawn_burstiness, fit_arrivals
from llmbench.workloads.fitting.burstiness import Seconds, burstiness
from llmbench.workloads.fitting.lengths import (
    copula_correlation,
    evenly_drawn,
    fit_length,
    linear_correlation,
)
from llmbench.workloads.fitting.minutes import Minutes
from llmbench.workloads.lengths import sample_pairs
from llmbench.workloads.load import load_spec, spec_yaml
from llmbench.workloads.spec import (
    Constant,
    Gamma,
    LognormalLength,
    Modulated,
    OnOff,
    QuantileLength,
    SampledLengths,
    Stages,
)
from scipy.stats import kstest

TRACES = {
    "conv": "traces/azure_llm_2023_conv/AzureLLMInferenceTrace_conv.csv",
    "code": "traces/azure_llm_2023_code/AzureLLMInferenceTrace_code.csv",
    "mooncake": "traces/mooncake_fast25/conversation_trace.jsonl",
}


def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def fitted(times_s: Seconds) -> object:
    found = burstiness(times_s)
    assert found is not None
    return fit_arrivals(times_s, found)


def test_poisson_arrivals_are_fitted_by_poisson() -> None:
    found = fitted(processes.poisson(10_000, 3.0, rng()))
    assert getattr(found, "kind", None) == "poisson"


@pytest.mark.parametrize("rate_per_s", [0.05, 0.7, 5.0, 128.0])
def test_regular_arrivals_are_fitted_by_constant(rate_per_s: float) -> None:
    """Their CV is what the rounding of floats leaves of 0."""
    times_s = np.arange(1000) / rate_per_s
    found = fitted(times_s)
    assert isinstance(found, Constant)
    assert found.rate_per_s == rate_per_s
    added = np.cumsum(np.full(1000, 1 / rate_per_s))
    assert isinstance(fitted(added - added[0]), Constant)


@pytest.mark.parametrize("cv", [0.02, 0.05, 0.1, 0.3, 0.5])
def test_gaps_that_vary_a_little_are_fitted_by_gamma(cv: float) -> None:
    found = fitted(processes.gamma(3000, 5.0, cv, rng()))
    assert isinstance(found, Gamma)
    assert found.cv == pytest.approx(cv, rel=0.1)
    assert found.rate_per_s == pytest.approx(5, rel=0.05)


def test_a_clock_that_jitters_is_fitted_by_gamma() -> None:
    """A tenth of a gap to and fro, as timers have: counts vary even less than gamma's."""
    times_s = np.sort(np.arange(3000) / 5 + rng().normal(0, 0.02, 3000))
    found = fitted(times_s - times_s[0])
    assert isinstance(found, Gamma)
    assert found.cv == pytest.approx(0.1 * 2**0.5, rel=0.1)


def test_a_regular_trace_is_said_to_be_met(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"t_due_s": i * 0.2, "input_tokens": 9, "output_tokens": 3} for i in range(150)]
    path.write_text("\n".join(map(json.dumps, rows)))
    fit = fit_trace(path)
    assert fit.spec.arrivals == Constant(kind="constant", rate_per_s=5)
    assert "arrivals are constant" in fit.notes


def test_a_rate_that_no_workload_has_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"t_due_s": i * 1e-13, "input_tokens": 9, "output_tokens": 3} for i in range(50)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        WorkloadError, match=r"would be fitted by rate_per_s 1.*; expected a number"
    ):
        fit_trace(path)


def test_gamma_arrivals_are_fitted_by_gamma() -> None:
    found = fitted(processes.gamma(10_000, 3.0, 2.0, rng()))
    assert isinstance(found, Gamma)
    assert found.rate_per_s == pytest.approx(3, rel=0.06)
    assert found.cv == pytest.approx(2, rel=0.06)


def test_bursts_are_fitted_by_bursts() -> None:
    found = fitted(processes.on_off(40_000, 20, 5, 15, rng()))
    assert isinstance(found, OnOff)
    assert found.on_rate_per_s == pytest.approx(20, rel=0.15)
    assert found.mean_on_s == pytest.approx(5, rel=0.25)
    assert found.mean_off_s == pytest.approx(15, rel=0.25)


def test_a_rate_that_drifts_is_followed() -> None:
    """Poisson at 2/s for ten minutes, then at 8/s: no process of one rate does that."""
    halves = (processes.poisson(1200, 2.0, rng()), 600 + processes.poisson(4800, 8.0, rng()))
    found = fitted(np.sort(np.concatenate(halves)))
    assert isinstance(found, Stages)
    rates = [
        stage.arrivals.rate_per_s for stage in found.stages if isinstance(stage.arrivals, Gamma)
    ]
    assert np.mean(rates[:9]) == pytest.approx(2, rel=0.1)
    assert np.mean(rates[11:-1]) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("last_s", [179.0, 180.0, 181.0])
def test_stages_bring_every_arrival_of_the_trace(last_s: float) -> None:
    """One a second for a minute, then one in two, then ten at the end. Known wrong here: 180 s are
    three stages of a minute exactly, and what came at their very end was in none."""
    times_s = np.concatenate((np.arange(60.0), np.arange(60.0, 120.0, 2.0), np.full(10, last_s)))
    stages = Minutes.of(times_s).gamma().stages
    rates = [getattr(stage.arrivals, "rate_per_s", 0.0) for stage in stages]
    lasting_s = [stage.duration_s or 0.0 for stage in stages]
    assert sum(lasting_s) == pytest.approx(last_s)
    assert np.dot(rates, lasting_s) == pytest.approx(len(times_s), rel=1e-3)


def test_counts_that_vary_by_the_period_come_back() -> None:
    """As Mooncake's traces are: every 3 s a number of their own, sent evenly, around a mean that
    changes by the minute. Stages of a rate alone have a third of the dispersion at 10 s."""
    draw = rng()
    by_minute = np.repeat(draw.gamma(100, 0.1, size=60), 20)
    counts = draw.poisson(by_minute)
    times_s = np.concatenate([3 * i + 3 * np.arange(n) / n for i, n in enumerate(counts) if n])
    trace = burstiness(times_s - times_s[0])
    found = fitted(times_s - times_s[0])
    assert trace is not None
    assert isinstance(found, Stages)
    periods = {
        stage.arrivals.period_s for stage in found.stages if isinstance(stage.arrivals, Modulated)
    }
    assert periods == {3.0}
    drawn = drawn_burstiness(found, len(times_s))
    assert drawn is not None
    for window_s, value in trace.dispersion.items():
        assert drawn.dispersion[window_s] == pytest.approx(value, rel=0.25)
    alone = drawn_burstiness(Minutes.of(times_s).gamma(), len(times_s))
    assert alone is not None
    assert alone.dispersion[10.0] < trace.dispersion[10.0] / 2


def test_a_trace_that_is_as_even_as_can_be_has_no_rates_of_its_own() -> None:
    """Known wrong here: stages that do not vary were divided by."""
    assert Minutes.of(np.arange(600.0)).modulated(5.0) is None


def test_lognormal_lengths_come_back() -> None:
    true = LognormalLength(kind="lognormal", mu=6.0, sigma=0.8)
    tokens = sample_pairs(20_000, true, true, 0, rng())[:, 0]
    found = fit_length(tokens)
    assert isinstance(found.length, LognormalLength)
    assert found.length.mu == pytest.approx(6, abs=0.03)
    assert found.length.sigma == pytest.approx(0.8, abs=0.03)
    # scipy's own distance of the same distribution, which knows no rounding to whole tokens.
    shape = (found.length.sigma, 0, np.exp(found.length.mu))
    theirs = kstest(tokens, "lognorm", args=shape)
    assert found.distance == pytest.approx(theirs.statistic, abs=0.005)


def test_lumpy_lengths_are_fitted_by_quantiles() -> None:
    tokens = np.concatenate((np.full(400, 100), np.arange(1000, 1600)))
    found = fit_length(tokens)
    assert isinstance(found.length, QuantileLength)
    assert found.distance < 0.05 < found.lognormal_distance


def test_quantiles_have_the_mean_of_a_tail_that_bends() -> None:
    """A geometric one. Known wrong here: 1 % more tokens, and a deviation 4 % larger."""
    tokens = rng().geometric(0.01, 20_000)
    found = fit_length(tokens)
    assert isinstance(found.length, QuantileLength)
    drawn = evenly_drawn(found.length)
    assert drawn.mean() == pytest.approx(tokens.mean(), rel=0.005)
    assert drawn.std() == pytest.approx(tokens.std(), rel=0.01)


def test_a_short_traces_fit_is_shown_without_the_chance_of_one_draw(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lengths = np.exp(rng().normal(6, 1.5, 40)).astype(int) + 1
    rows = [
        {"t_due_s": at, "input_tokens": tokens, "output_tokens": 3}
        for at, tokens in enumerate(lengths.tolist())
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    fit = fit_trace(path)
    assert isinstance(fit.spec.lengths, SampledLengths)
    mean = next(one.fit for one in fit.compared if one.name == "input tokens, mean")
    assert mean == evenly_drawn(fit.spec.lengths.input).mean()


@pytest.mark.parametrize("correlation", [-0.5, 0.3])
def test_the_linear_correlation_is_met(correlation: float) -> None:
    true = LognormalLength(kind="lognormal", mu=5.0, sigma=0.6)
    pairs = sample_pairs(40_000, true, true, correlation, rng())
    found = copula_correlation(pairs, true, true)
    assert found == pytest.approx(correlation, abs=0.03)
    drawn = sample_pairs(40_000, true, true, found, np.random.default_rng(99))
    assert linear_correlation(drawn) == pytest.approx(linear_correlation(pairs), abs=0.03)


@pytest.fixture(scope="module")
def fits(shared_data: Path) -> dict[str, FittedWorkload]:
    return {name: fit_trace(shared_data / path) for name, path in TRACES.items()}


def ratios(fit: FittedWorkload) -> dict[str, float]:
    return {one.name: one.fit / one.trace for one in fit.compared if one.trace}


@pytest.mark.parametrize("name", TRACES)
def test_real_lengths_have_the_traces_marginals(name: str, fits: dict[str, FittedWorkload]) -> None:
    fit = fits[name]
    found = ratios(fit)
    for side in ("input", "output"):
        for what in ("mean", "p50", "p90", "p99"):
            assert found[f"{side} tokens, {what}"] == pytest.approx(1, abs=0.02)
    by_name = {one.name: one for one in fit.compared}
    assert by_name["input tokens, Kolmogorov distance"].fit < 0.05
    assert by_name["output tokens, Kolmogorov distance"].fit < 0.05
    pair = by_name["correlation of input and output"]
    assert pair.fit == pytest.approx(pair.trace, abs=0.03)


def test_the_code_trace_is_on_and_off(fits: dict[str, FittedWorkload]) -> None:
    """CV 13.2; a gamma process of that CV has a dispersion near 69 at 1 s, the trace has 13."""
    fit = fits["code"]
    assert isinstance(fit.spec.arrivals, OnOff)
    found = ratios(fit)
    assert found["requests a second"] == pytest.approx(1, abs=0.1)
    assert found["CV of gaps"] == pytest.approx(1, abs=0.1)
    for window_s in (1, 10, 60):
        assert found[f"dispersion at {window_s} s"] == pytest.approx(1, abs=0.25)


def test_the_conversation_traces_rate_is_followed(fits: dict[str, FittedWorkload]) -> None:
    fit = fits["conv"]
    assert isinstance(fit.spec.arrivals, Stages)
    assert isinstance(fit.spec.lengths, SampledLengths)
    # What was found before by another search, for the built-in of this trace.
    assert fit.spec.lengths.correlation == pytest.approx(-0.14, abs=0.03)
    found = ratios(fit)
    assert found["requests a second"] == pytest.approx(1, abs=0.02)
    assert found["CV of gaps"] == pytest.approx(1, abs=0.05)
    for window_s in (1, 10, 60):
        assert found[f"dispersion at {window_s} s"] == pytest.approx(1, abs=0.1)


def test_requests_that_a_clock_of_three_seconds_brings_are_sent_alike(
    fits: dict[str, FittedWorkload],
) -> None:
    """Mooncake's. Known wrong here: half of its dispersion at 1 s and at 10 s."""
    fit = fits["mooncake"]
    for window_s in (1, 10, 60):
        assert ratios(fit)[f"dispersion at {window_s} s"] == pytest.approx(1, abs=0.2)
    assert ratios(fit)["CV of gaps"] == pytest.approx(1, abs=0.1)
    assert not any("off by up to" in note for note in fit.notes)
    assert any("share no prefixes" in note for note in fit.notes)


def test_what_a_fit_does_not_reach_is_said(tmp_path: Path) -> None:
    """Fifty in a second, every half minute, which no process here does."""
    path = tmp_path / "t.jsonl"
    due = [30 * burst + place / 50 for burst in range(40) for place in range(50)]
    rows = [{"t_due_s": due_s, "input_tokens": 9, "output_tokens": 3} for due_s in due]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert any("off by up to a factor" in note for note in fit_trace(path).notes)


def test_what_is_taken_for_near_is_not_said_to_be_off(tmp_path: Path) -> None:
    """Within three standard errors of so short a trace. Known wrong here: "arrivals are poisson:
    gaps or counts are off by up to a factor 1.4"."""
    path = tmp_path / "t.jsonl"
    due = processes.poisson(60, 1.0, np.random.default_rng(6)).tolist()
    rows = [{"t_due_s": due_s, "input_tokens": 9, "output_tokens": 3} for due_s in due]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert "arrivals are poisson" in fit_trace(path).notes


@pytest.mark.parametrize("name", TRACES)
def test_a_fit_is_a_workload_file(
    name: str, fits: dict[str, FittedWorkload], tmp_path: Path
) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(spec_yaml(fits[name].spec))
    spec = load_spec(path)
    assert spec == fits[name].spec
    plan = plan_workload(
        spec, seed=0, corpus_token_ids=range(5000), limits=LengthLimits(64, None, 200_000)
    )
    rows = next(one for one in fits[name].compared if one.name == "requests a second")
    # One draw of a process with dispersion 174 has its rate to 14 % of itself: three of those.
    assert plan.description["offered_rate_per_s"] == pytest.approx(rows.trace, rel=0.42)


def test_stages_that_may_bring_nothing_are_no_candidate(tmp_path: Path) -> None:
    """Sixty in three seconds, and one long after. Known wrong here: "arrivals: 'stages' bring no
    request", of stages that nobody had asked for."""
    path = tmp_path / "t.jsonl"
    due = [*(at / 20 for at in range(60)), 200.0]
    rows = [{"t_due_s": due_s, "input_tokens": 9, "output_tokens": 3} for due_s in due]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert fit_trace(path).spec.arrivals.kind != "at_once"


def test_too_few_requests_are_no_trace_to_fit(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    row = {"t_due_s": 0, "input_tokens": 3, "output_tokens": 4}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(WorkloadError, match="has 1 requests; expected at least 20 to fit"):
        fit_trace(path)
    path.write_text((json.dumps(row) + "\n") * 30)
    at_once = fit_trace(path)
    assert at_once.spec.arrivals.kind == "at_once"
    assert at_once.spec.num_requests == 30
