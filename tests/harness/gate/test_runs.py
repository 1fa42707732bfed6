"""Rules, verdicts and exit codes, on runs whose difference is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.trace import StepTrace
from llmbench.harness.gate.junit import to_junit
from llmbench.harness.gate.markdown import to_markdown
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import GateOutcome, Row, describe, gate, verdicts_of
from llmbench.harness.gate.text import to_text
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.storage.store import StoredRun

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run


@cache
def _served(count: int, seed: int, step_s: float) -> tuple[list[RequestRecord], list[StepTrace]]:
    rng = np.random.default_rng(seed)
    return serve_in_turn(count, step_s=lambda: float(step_s * rng.lognormal(0, 0.2)))


def _run(
    *, slower: float = 1.0, seed: int = 1, count: int = 150, step_s: float = 0.01, **kwargs: object
) -> StoredRun:
    """A closed loop of one with steps of 10 ms give or take a fifth, all `slower` times as long."""
    served = _served(count, seed, slower * step_s)
    return stored_run(*served, **kwargs)  # pyright: ignore[reportArgumentType]


def _gate(baseline: StoredRun, current: StoredRun, *rules: str) -> GateOutcome:
    return gate(baseline, current, [parse_rule(rule) for rule in rules])


def _verdicts(outcome: GateOutcome) -> list[str]:
    return [row.verdict for row in outcome.rows]


def _width(row: Row) -> float:
    assert row.low is not None
    assert row.high is not None
    return row.high - row.low


def _with_preemptions(run: StoredRun, preemptions: int) -> StoredRun:
    counters = run.result.counters.model_copy(update={"preemptions": preemptions})
    return replace(run, result=run.result.model_copy(update={"counters": counters}))


@pytest.mark.parametrize(
    ("slower", "rule", "exit_code"),
    [
        (1.0, "ttft.p50=10%", 0),
        (1.0, "output_throughput.window=5%", 0),
        (1.3, "ttft.p50=10%", 1),
        (1.3, "ttft.p50=100%", 0),
        (1.3, "output_throughput.window=10%", 1),
        (1.3, "output_throughput.window=50%", 0),
        (0.7, "ttft.p50=0%", 0),  # quicker is no regression
        (0.7, "output_throughput.window=0%", 0),
        (1.3, "tpot.mean=1ms", 1),  # 3 ms more
        (1.3, "tpot.mean=10ms", 0),
        (1.1, "ttft.p50=10%", 4),  # just about what is allowed
    ],
)
def test_exit_code(slower: float, rule: str, exit_code: int) -> None:
    assert _gate(_run(), _run(slower=slower, seed=2), rule).exit_code == exit_code


def test_a_regression_outweighs_the_inconclusive_and_that_the_passed() -> None:
    baseline, current = _run(), _run(slower=1.3, seed=2)

    mixed = _gate(baseline, current, "ttft.mean=100%", "ttft.mean=30%", "tpot.mean=5%")
    assert _verdicts(mixed) == ["passed", "inconclusive", "regressed"]
    assert mixed.exit_code == 1
    assert _gate(baseline, current, "ttft.mean=100%", "ttft.mean=30%").exit_code == 4


def test_a_three_second_run_reports_no_regression() -> None:
    """Known wrong elsewhere: a 3 s run reported as a 5 % regression."""
    short = _gate(_run(count=35), _run(count=35, slower=1.05, seed=2), "ttft.mean=1%")
    assert _verdicts(short) == ["inconclusive"]
    assert "too short" in short.rows[0].note

    # Nor with so many requests in it that the interval is narrow.
    dense = _gate(
        _run(count=600, step_s=0.0006),
        _run(count=600, step_s=0.0006, slower=1.5, seed=2),
        "tpot.mean=1%",
    )
    assert _verdicts(dense) == ["inconclusive"]


def test_a_p99_of_few_requests_is_inconclusive() -> None:
    outcome = _gate(_run(count=298), _run(count=298, slower=2, seed=2), "ttft.p99=10%")

    assert outcome.exit_code == 4
    assert _gate(_run(count=299), _run(count=299, slower=2, seed=2), "ttft.p99=10%").exit_code == 1
    assert (
        outcome.rows[0].note
        == "298 served requests are too few to compare TTFT p99, which needs 299"
    )


@pytest.mark.parametrize(
    ("before", "after", "rule", "exit_code"),
    [
        (10, 10, "preemptions=0%", 0),
        (10, 11, "preemptions=0%", 1),
        (10, 9, "counters.preemptions=0%", 0),
        (10, 9, "preemptions=exact", 1),
        (10, 11, "preemptions=10%", 0),
        (10, 12, "preemptions=10%", 1),
        (10, 12, "preemptions=2", 0),
        (10, 13, "preemptions=2", 1),
        (0, 0, "preemptions=10%", 0),
        (0, 1, "preemptions=10%", 1),
        (0, 0, "preemptions=exact", 0),
    ],
)
def test_counts_are_compared_as_they_stand(
    before: int, after: int, rule: str, exit_code: int
) -> None:
    run = _run(count=10)

    outcome = _gate(_with_preemptions(run, before), _with_preemptions(run, after), rule)

    assert outcome.exit_code == exit_code


def test_a_count_with_no_better_direction_may_not_change_either_way() -> None:
    run = _run(count=10)
    counters = run.result.counters
    fewer = counters.model_copy(update={"decode_tokens": (counters.decode_tokens or 0) // 2})
    halved = replace(run, result=run.result.model_copy(update={"counters": fewer}))

    assert _gate(run, halved, "decode_tokens=10%").exit_code == 1
    assert _gate(halved, run, "decode_tokens=10%").exit_code == 1


def test_counts_of_other_requests_prove_nothing() -> None:
    run, other = _run(count=10), _run(count=10, fingerprint="0" * 64)

    assert _gate(run, other, "steps=0%").exit_code == 4


def test_a_latency_of_other_requests_is_decided_and_not_paired() -> None:
    other = _run(slower=1.3, seed=2, fingerprint="0" * 64)
    outcome = _gate(_run(), other, "ttft.p50=10%")

    assert (_verdicts(outcome), outcome.exit_code) == (["regressed"], 1)
    assert any("not paired" in warning for warning in outcome.warnings)


def test_waste_is_gated_in_its_own_unit() -> None:
    outcome = _gate(_run(), _run(seed=2), "kv.waste_share=0.05")

    assert outcome.exit_code == 0


@pytest.mark.parametrize("interrupted", ["baseline", "current"])
def test_an_interrupted_run_is_exit_code_3(interrupted: str) -> None:
    runs = {"baseline": _run(), "current": _run(seed=2)}
    runs[interrupted] = _run(interrupted=True)

    outcome = _gate(runs["baseline"], runs["current"], "ttft.p50=1000%")

    assert outcome.exit_code == 3
    assert outcome.rows == ()
    assert outcome.invalid[0].startswith(f"the {interrupted} run is not valid: interrupted")


def test_a_metric_that_was_not_measured_does_not_pass() -> None:
    outcome = _gate(_run(), _run(seed=2), "goodput.window=10%")

    assert outcome.exit_code == 4


def test_several_rules_share_the_chance_of_error() -> None:
    baseline, current = _run(), _run(slower=1.05, seed=2)

    alone = _gate(baseline, current, "ttft.mean=5%").rows[0]
    among = _gate(baseline, current, "ttft.mean=5%", *["ttft.mean=5%"] * 9).rows[0]

    assert alone.verdict == among.verdict == "inconclusive"
    assert _width(among) > 1.2 * _width(alone)


def test_what_is_clear_leaves_its_share_to_the_others() -> None:
    """Holm: nine rules that pass at once are judged together, and the tenth then as if alone."""
    baseline, current = _run(), _run(slower=1.05, seed=2)

    alone = _gate(baseline, current, "ttft.mean=5%").rows[0]
    among = _gate(baseline, current, "ttft.mean=5%", *["tpot.mean=100%"] * 9).rows[0]

    assert (among.low, among.high) == (alone.low, alone.high)


def test_nothing_may_be_allowed_without_a_unit() -> None:
    rule = parse_rule("ttft.p50=0")

    assert (rule.allowed, rule.relative) == (0.0, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ttft.p99", "max_regression: 'ttft.p99' is not allowed; expected METRIC.STAT=ALLOWED"),
        ("ttft.p99=", "expected METRIC.STAT=ALLOWED"),
        ("tftt.p99=10%", "max_regression: 'tftt.p99' .*did you mean 'ttft.p99'"),
        ("ttft=10%", "did you mean 'ttft.p"),
        ("preemption=10%", "did you mean 'counters.preemptions'"),
        ("ttft.max=10%", "max_regression: 'ttft.max' is not allowed"),
        ("ttft.p99=ten", "max_regression: 'ttft.p99=ten' .* a percentage such as 10%, or a time"),
        ("ttft.p99=2mss", "did you mean 'ms'"),
        ("ttft.p99=-5%", "expected METRIC.STAT=ALLOWED"),
        ("ttft.p99=5%%", "expected METRIC.STAT=ALLOWED"),
        ("ttft.p99=exact", "measured with noise"),
        ("kv.waste_share=exact", "measured with noise"),
        ("preemptions=few", "expected METRIC.STAT=ALLOWED"),
    ],
)
def test_a_bad_rule_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_rule(text)
    assert "\n" not in str(caught.value)


def test_the_difference_of_two_shares_is_in_points() -> None:
    """15 % more or less 3 points is not 15 % more or less 3 %, which a relative rule says."""

    def told(rule: str, low: float, high: float) -> str:
        return describe(Row(parse_rule(rule), 0.15, 0.15, low, high, "passed"))

    assert told("goodput_share.run=0.05", -0.03, 0.03) == "15 -> 15 % (-3 to +3 points)"
    assert told("goodput_share.run=50%", 0.8, 1.2) == "15 -> 15 % (-20.0 to +20.0 %)"


@pytest.mark.parametrize(
    ("rule", "told"),
    [("exact", "21.94 -> 22.12"), ("0.1", "21.94 -> 22.12 (-0.1473 to +0.5081)")],
)
def test_an_interval_of_what_has_no_unit(rule: str, told: str) -> None:
    """It ended in a space, and stood beside a rule that asks for none: it held 0 and regressed."""
    row = Row(parse_rule(f"quality.perplexity={rule}"), 21.94, 22.12, -0.1473, 0.5081, "regressed")
    assert describe(row) == told


def test_a_gate_without_rules_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="missing; expected at least one --max-regression"):
        gate(_run(count=5), _run(count=5), [])


@pytest.fixture(scope="module")
def mixed() -> GateOutcome:
    return _gate(
        _run(label="before"),
        _run(label="after", slower=1.3, seed=2),
        *("ttft.mean=100%", "ttft.mean=30%", "tpot.mean=5%", "preemptions=exact"),
    )


def test_text(mixed: GateOutcome) -> None:
    lines = to_text(verdicts_of(mixed)).splitlines()

    assert lines[0] == "llmbench gate: regressed"
    assert lines[2].startswith("  passed        ttft.mean=100%: ")
    assert lines[3].startswith("  inconclusive  ttft.mean=30%: ")
    assert lines[5] == "  passed        preemptions=exact: 0 -> 0 preemptions"
    assert "weak evidence, for the runs were not interleaved" in lines[-1]


def test_markdown(mixed: GateOutcome) -> None:
    text = to_markdown(verdicts_of(mixed))

    assert "`baseline before, current after`" in text
    assert text.count("=") == 4


def test_junit_shows_nothing_undecided_as_passed(mixed: GateOutcome) -> None:
    suite = ElementTree.fromstring(to_junit(verdicts_of(mixed)))
    kinds = [[child.tag for child in case] for case in suite.findall("testcase")]

    assert kinds == [[], ["error"], ["failure"], []]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")


def test_invalid_in_every_form() -> None:
    outcome = _gate(_run(count=30), _run(count=30, interrupted=True), "ttft.p50=10%")
    verdicts = verdicts_of(outcome)
    suite = ElementTree.fromstring(to_junit(verdicts))

    assert suite.get("errors") == "1"
    assert to_text(verdicts).startswith("llmbench gate: invalid: ")
    assert "the current run is not valid" in to_markdown(verdicts)


def test_a_change_reads_in_milliseconds_and_percent() -> None:
    baseline, current = _run(), _run(slower=1.3, seed=2)
    row = _gate(baseline, current, "tpot.mean=5%").rows[0]
    before, after = (run.result.metrics["tpot"].stats["mean"] for run in (baseline, current))

    assert describe(row).startswith(f"{before * 1e3:.4g} -> {after * 1e3:.4g} ms (+")


@pytest.mark.parametrize("simulated", ["baseline", "current"])
def test_a_simulated_run_is_never_judged_against_a_measured_one(simulated: str) -> None:
    kinds = {"baseline": None, "current": None, simulated: SIMULATION}
    baseline = _run(label="old", simulation=kinds["baseline"])
    current = _run(label="new", simulation=kinds["current"])
    kind, other = ("measured", "simulated")[:: 1 if simulated == "baseline" else -1]
    with pytest.raises(ConfigError) as caught:
        _gate(baseline, current, "ttft.p50=10%")
    assert str(caught.value) == (
        f"current: 'new ({kind})' is not allowed; expected a {other} run, as the baseline old is"
    )


def test_two_simulated_runs_are_judged_and_the_warning_is_theirs() -> None:
    outcome = _gate(
        _run(simulation=SIMULATION),
        _run(simulation=SIMULATION),
        "ttft.p50=10%",
        "preemptions=exact",
    )
    assert outcome.exit_code == 0
    assert outcome.warnings == (
        "both runs are simulated: no rule covers how wrong the cost model is",
    )


@pytest.mark.parametrize(
    ("sent", "differ"),
    [
        ({"offered_rate_per_s": 3.0, "num_sessions": 9, "num_requests": 9}, True),
        ({"offered_rate_per_s": None, "num_sessions": 3, "num_requests": 9}, True),
        ({"offered_rate_per_s": None, "num_sessions": 9, "num_requests": 9}, False),
    ],
    ids=["a replayed trace", "users who think", "a closed loop"],
)
def test_counts_of_what_comes_by_the_clock_are_marked(
    sent: dict[str, object], differ: bool
) -> None:
    """A trace or a ramp has no rate in its settings, and comes by the clock all the same."""
    run = _run()
    workload = run.result.workload.model_copy(update={"description": sent})
    run = replace(run, result=run.result.model_copy(update={"workload": workload}))
    outcome = _gate(run, run, "preemptions=exact")
    assert any("by the clock" in warning for warning in outcome.warnings) is differ


def test_what_a_valid_run_cannot_carry_is_said_beside_its_verdict() -> None:
    """A run of fewer requests than a p99 needs is valid; who gates on it should know."""
    outcome = _gate(_run(count=150), _run(count=99), "tpot.mean=50%")
    assert [one for one in outcome.warnings if "p99" in one] == [
        "the current run: 99 served requests are too few for a p99, which needs 100"
    ]
