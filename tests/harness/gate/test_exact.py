"""Baselines in virtual time: what is equal, what changed, and what may not be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.errors import InvalidRun
from llmbench.harness.gate.baseline import (
    Baseline,
    BaselineRun,
    read_baseline,
    write_baseline,
)
from llmbench.harness.gate.exact import gate_exact, judge_run, rules_of, run_of, update
from llmbench.harness.gate.verdicts import worst_first
from llmbench.harness.gate.virtual import simulate_options
from llmbench.harness.result import Check, Result, Validity

OPTIONS: dict[str, Any] = {
    "engine": "vllm-v1",
    "num-requests": 12,
    "kv-memory": "2MiB",
    "max-model-len": 512,
}
RUN = BaselineRun(
    OPTIONS,
    workload="f" * 64,
    quantities={
        "counters.preemptions": 10,
        "counters.mixed_steps": 7,
        "counters.prefix_hit_tokens": 100,
        "ttft.p99": 0.25,
        "counters.kv_peak_held_tokens": 192,
    },
)


def _with(**changed: float) -> BaselineRun:
    named = {name.replace("__", "."): value for name, value in changed.items()}
    return replace(RUN, quantities={**RUN.quantities, **named})


def _changed(after: BaselineRun, before: BaselineRun = RUN) -> dict[str, str]:
    return {
        row.name.removeprefix("chat: "): row.verdict
        for row in judge_run("chat", before, after)
        if row.verdict != "passed"
    }


def test_a_run_is_equal_to_itself_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    made = update(Baseline("", {"chat": BaselineRun(OPTIONS)}), "1.2.3", simulate_options)
    path.write_text(write_baseline(made))
    again = read_baseline(path)

    assert again == made
    assert write_baseline(again) == path.read_text()
    verdicts = gate_exact(again, simulate_options)
    assert verdicts.exit_code == 0
    assert {row.verdict for row in verdicts.rows} == {"passed"}
    assert {f"chat: {name}" for name in made.runs["chat"].quantities} == {
        row.name for row in verdicts.rows
    }


def test_another_policy_is_another_schedule() -> None:
    made = update(Baseline("", {"chat": BaselineRun(OPTIONS)}), "1.2.3", simulate_options)

    def other(options: Mapping[str, Any]) -> Result:
        return simulate_options({**options, "max-num-seqs": 2})

    verdicts = gate_exact(made, other)
    assert verdicts.exit_code == 1
    assert "chat: counters.steps" in {
        row.name for row in verdicts.rows if row.verdict == "regressed"
    }


def test_what_improved_is_to_be_kept_only_where_nothing_regressed() -> None:
    """Else the advice would make the regression the baseline."""
    now = run_of(OPTIONS, simulate_options(OPTIONS))

    def warnings(**changes: float) -> str:
        changed = {name.replace("__", "."): value for name, value in changes.items()}
        before = replace(now, quantities={**now.quantities, **changed})
        return " | ".join(gate_exact(Baseline("", {"chat": before}), simulate_options).warnings)

    assert "--update keeps it" in warnings(counters__prefill_tokens=10**6)
    assert "--update keeps it" not in warnings(counters__prefill_tokens=10**6, ttft__p99=1e-6)
    assert "--update keeps it" not in warnings()
    assert "if what changed is meant: llmbench gate --update" in warnings(ttft__p99=1e-6)
    assert "meant" not in warnings(counters__prefill_tokens=10**6)


def test_an_update_of_one_run_leaves_the_others_as_they_were() -> None:
    before = Baseline("1.2.3", {"chat": RUN, "other": RUN})
    made: list[Mapping[str, Any]] = []

    def simulate(options: Mapping[str, Any]) -> Result:
        made.append(options)
        return simulate_options(options)

    after = update(before, "1.2.4", simulate, only=["chat"])
    assert made == [OPTIONS]
    assert after.runs["other"] == RUN
    assert after.runs["chat"].quantities != RUN.quantities


def test_a_quantity_stands_on_a_line_of_its_own() -> None:
    text = write_baseline(Baseline("1.2.3", {"chat": RUN}))
    assert "      counters.preemptions: 10\n" in text
    assert "      ttft.p99: 0.25\n" in text
    lines = [line.strip() for line in text.splitlines() if line.startswith("      ")]
    named = [line for line in lines if line.split(":")[0] in RUN.quantities]
    assert named == sorted(named)
    assert len(named) == len(RUN.quantities)


@pytest.mark.parametrize(
    ("after", "verdicts"),
    [
        (_with(), {}),
        (_with(counters__preemptions=11), {"counters.preemptions": "regressed"}),
        (_with(counters__preemptions=9), {"counters.preemptions": "improved"}),
        (_with(counters__prefix_hit_tokens=99), {"counters.prefix_hit_tokens": "regressed"}),
        (_with(counters__mixed_steps=6), {"counters.mixed_steps": "regressed"}),
        (_with(counters__mixed_steps=8), {"counters.mixed_steps": "regressed"}),
        (_with(counters__kv_peak_held_tokens=208), {"counters.kv_peak_held_tokens": "regressed"}),
        (_with(counters__kv_peak_held_tokens=176), {"counters.kv_peak_held_tokens": "regressed"}),
        (_with(ttft__p99=0.2500001), {"ttft.p99": "regressed"}),
        (_with(ttft__p99=0.25000000002), {}),  # the tenth digit is rounding
    ],
)
def test_any_change_is_seen(after: BaselineRun, verdicts: dict[str, str]) -> None:
    assert _changed(after) == verdicts


def test_the_most_room_held_may_be_allowed_to_grow() -> None:
    before = replace(RUN, allowed={"counters.kv_peak_held_tokens": "5%"})
    assert _changed(_with(counters__kv_peak_held_tokens=200), before) == {}


@pytest.mark.parametrize(
    ("allowed", "p99", "regressed"),
    [("2%", 0.2549, False), ("2%", 0.2551, True), ("1ms", 0.251, False), ("1ms", 0.252, True)],
)
def test_what_is_allowed_may_get_worse_by_so_much(
    allowed: str, p99: float, regressed: bool
) -> None:
    before = replace(RUN, allowed={"ttft.p99": allowed})
    assert bool(_changed(_with(ttft__p99=p99), before)) is regressed


def test_what_must_stay_exactly_as_it_is_may_not_get_better() -> None:
    before = replace(RUN, allowed={"counters.preemptions": "exact"})
    assert _changed(_with(counters__preemptions=9), before) == {"counters.preemptions": "regressed"}
    assert _changed(_with(counters__preemptions=10), before) == {}


def test_what_cannot_be_judged_does_not_pass() -> None:
    other = replace(RUN, workload="0" * 64)
    assert _changed(other) == {"workload": "inconclusive"}
    fewer = replace(RUN, quantities={"ttft.p99": 0.25})
    assert set(_changed(fewer).values()) == {"inconclusive"}
    assert _changed(RUN, BaselineRun(OPTIONS)) == {"chat": "inconclusive"}


def test_an_invalid_run_is_named() -> None:
    def refusing(options: Mapping[str, Any]) -> Result:
        result = simulate_options(options)
        check = Check(id="errors", ok=False, fatal=True, detail="one request was refused")
        return result.model_copy(update={"validity": Validity(valid=False, checks=(check,))})

    with pytest.raises(InvalidRun, match=r"runs\.chat: one request was refused"):
        update(Baseline("", {"chat": BaselineRun(OPTIONS)}), "1.2.3", refusing)


def test_an_invalid_run_hides_no_other() -> None:
    """The order of the file decided what was said."""

    def refusing(options: Mapping[str, Any]) -> Result:
        if "max-num-seqs" in options:
            raise InvalidRun(f"{options['max-num-seqs']} seats are too few")
        return simulate_options(options)

    first, last = (BaselineRun({**OPTIONS, "max-num-seqs": seats}) for seats in (1, 2))
    verdicts = gate_exact(Baseline("", {"a": first, "chat": RUN, "z": last}), refusing)
    assert verdicts.exit_code == 3
    assert verdicts.invalid == ("runs.a: 1 seats are too few", "runs.z: 2 seats are too few")
    assert [row.name for row in verdicts.rows] == ["chat: workload"]


def test_what_got_worse_by_most_comes_first() -> None:
    """Of ten annotations that a page shows, the first nine were in alphabetical order."""
    after = _with(
        counters__preemptions=12, counters__mixed_steps=99, counters__prefix_hit_tokens=70
    )
    after = replace(after, quantities={**after.quantities, "ttft.p99": 0.20})
    rows = worst_first(judge_run("chat", RUN, after))
    assert [(row.verdict, row.name.removeprefix("chat: ")) for row in rows] == [
        ("regressed", "counters.prefix_hit_tokens"),  # -30 %
        ("regressed", "counters.preemptions"),  # +20 %
        ("regressed", "counters.mixed_steps"),  # neither way is better
        ("improved", "ttft.p99"),
        ("passed", "counters.kv_peak_held_tokens"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "gate.yaml' has no 'gate: 1'; expected a YAML file of runs"),
        ("[]", "gate.yaml' has no 'gate: 1'; expected a YAML file of runs"),
        (
            "gate: 1\nruns:\n<<<<<<< HEAD\n  a: {}\n=======\n  b: {}\n>>>>>>> other\n",
            "gate.yaml' has a merge conflict; take either side's file, then: llmbench gate --up",
        ),
        ("gate: 2\nruns: {}", "gate.yaml' is of format 2; this llmbench reads 1"),
        ("gate: 1", "gate.yaml' has no runs; expected at least one under 'runs'"),
        (
            "gate: 1\nruns: {a: {option: {}}}",
            "gate.yaml: runs.a: 'option' is not allowed; expected one of allowed, options, "
            "quantities, workload (did you mean 'options'?)",
        ),
        (
            "gate: 1\nruns: {a: {options: [engine, paged]}}",
            "gate.yaml: runs.a.options: ['engine', 'paged'] is not allowed; expected a mapping",
        ),
        ("gate: 1\nruns: {a: {allowed: 2%}}", "runs.a.allowed: '2%' is not allowed; expected a m"),
        ("gate: 1\nruns: {a: {quantities: {ttft.p99: fast}}}", "ttft.p99: 'fast'"),
        ("gate: 1\nruns: {a: {quantities: {ttft.p99: .nan}}}", "ttft.p99: nan"),
        ("gate: 1\nruns: {a: {quantities: {ttft.p99: -.inf}}}", "expected a finite number"),
        (f"gate: 1\nruns: {{a: {{quantities: {{x: {'9' * 400}}}}}}}", "a finite number"),
        ("gate: 1\nruns: [a]", "runs"),
        ("{", "a YAML file"),
        ("gate: 1\nruns: {a: {}}\nruns: {b: {}}", "has runs twice, at line 2 and at line 3"),
        ("gate: 1\nruns: {a: {quantities: {ttft.p99: 2026-13-01}}}", "ttft.p99: '2026-13-01'"),
        ("[" * 2000, "nested too deeply; expected a YAML file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_baseline(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_options_and_rules_are_one_line() -> None:
    with pytest.raises(ConfigError, match="options: 'bogus' is not an option of"):
        simulate_options({"bogus": 1})
    with pytest.raises(ConfigError, match=r"runs\.chat\.allowed.*did you mean 'ttft.p99'"):
        rules_of("chat", replace(RUN, allowed={"tftt.p99": "2%"}))
    not_gated = (
        r"runs\.chat\.allowed: 'e2el.p95' is not allowed; expected what is gated: .*e2el\.p99"
    )
    with pytest.raises(ConfigError, match=not_gated):
        rules_of("chat", replace(RUN, allowed={"e2el.p95": "2%"}))
    never_made = BaselineRun(OPTIONS, {"ttft.p99": "2 percent"})
    with pytest.raises(ConfigError, match=r"runs\.chat\.allowed: 'ttft.p99=2 percent'"):
        list(judge_run("chat", never_made, RUN))
    with pytest.raises(ConfigError, match="run: 'b' is not allowed; expected a"):
        gate_exact(Baseline("", {"a": RUN}), simulate_options, only=["b"])


def test_shares_of_the_peaks_and_the_cost_repeat_and_are_gated() -> None:
    priced = {**OPTIONS, "price-per-hour": 2.5}
    first, again = (run_of(priced, simulate_options(priced)) for _ in range(2))
    held = {"mfu.run", "mbu.run", "mbu.decode", "cost_per_million_tokens.output"}
    assert held <= set(first.quantities)
    assert {row.verdict for row in judge_run("chat", first, again)} == {"passed"}
    priced = {**OPTIONS, "price-per-hour": 3.0}
    dearer = run_of(priced, simulate_options(priced))
    verdicts = {row.name: row.verdict for row in judge_run("chat", first, dearer)}
    assert verdicts["chat: cost_per_million_tokens.output"] == "regressed"
    assert verdicts["chat: mbu.decode"] == "passed"


def test_a_baseline_that_is_not_there_is_not_called_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "gat.yaml"
    with pytest.raises(ConfigError, match=rf"^baseline: '{path}' cannot be read: no such file or"):
        read_baseline(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"engin": "paged"},
            r"^runs\.chat: options: 'engin' is not an option of 'llmbench simulate' "
            r"\(did you mean 'engine'\?\)$",
        ),
        ({"quality-tokens": 4}, r"'quality-tokens' is not an option of 'llmbench simulate'"),
        ({"num-requests": "many"}, r"^runs\.chat: options: num_requests: 'many' is not allowed"),
        ({"--seed": 1}, r"options: '--seed' is not allowed; expected the name without dashes"),
        ({"engine": "pagd"}, r"^runs\.chat: engine: 'pagd' .*did you mean 'paged'"),
        ({"free-memory-fraction": 90}, r"^runs\.chat: free_memory_fraction: 90"),
        ({"workload": "quik"}, r"^runs\.chat: workload: 'quik' "),
    ],
)
def test_what_is_wrong_with_the_options_of_a_run_names_the_run(
    options: dict[str, Any], said: str
) -> None:
    baseline = Baseline("1", {"chat": BaselineRun({**OPTIONS, **options})})
    with pytest.raises(ValueError, match=said):
        gate_exact(baseline, simulate_options)
